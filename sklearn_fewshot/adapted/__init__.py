"""What ``adapt`` returns: classifiers of a support set, over a frozen learner."""
