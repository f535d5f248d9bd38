"""Show the many parameters of a learner in groups, its own ones first."""

import re

from sklearn_fewshot.base import CommonParameters, CommonRegressorParameters

OWN = "This learner"
GROUPS = {
    "Network": ["backbone", "freeze_backbone", "input_shape"],
    "Episodes": [
        "n_way",
        "n_shot",
        "n_query",
        "rotate_support",
        "meta_batch_size",
        "episodes_per_epoch",
        "augment",
    ],
    "Training": [
        "max_epochs",
        "optimizer",
        "lr",
        "lr_schedule",
        "weight_decay",
        "warm_start",
        "checkpoint",
        "callbacks",
        "net_params",
    ],
    "Validation and calibration": [
        "validation_fraction",
        "validation_classes",
        "validation_tasks",
        "patience",
        "refit",
        "calibrate",
    ],
    "Machine": ["device", "precision", "compile", "predict_batch_size", "random_state", "verbose"],
}
ENTRY = re.compile(r"    \*\*(\w+)\*\*")


def setup(app):
    names = {*CommonParameters.__annotations__, *CommonRegressorParameters.__annotations__}
    missing = names - {name for group in GROUPS.values() for name in group}
    if missing:
        raise ValueError(f"GROUPS in {__file__} lacks {sorted(missing)}")
    app.connect("autodoc-process-docstring", group_parameters, priority=950)  # after numpydoc
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def group_parameters(app, what, name, obj, options, lines):
    if what != "class" or ":Parameters:" not in lines:
        return
    start = lines.index(":Parameters:") + 1
    length = len(lines) - start
    stop = start + next((k for k, line in enumerate(lines[start:]) if line[:1].strip()), length)
    entries = split_entries(lines[start:stop])
    if set(GROUPS["Machine"]) <= entries.keys():
        lines[start:stop] = grouped(entries)


def split_entries(lines):
    """Return the lines of each parameter, by its name."""
    entries = {}
    for line in lines:
        if match := ENTRY.match(line):
            entries[match[1]] = []
        if entries:
            entries[next(reversed(entries))].append(line)
    return entries


def grouped(entries):
    shared = {name for group in GROUPS.values() for name in group}
    own = {OWN: [name for name in entries if name not in shared]}
    lines = [""]
    for title, names in (own | GROUPS).items():
        here = [line for name in names for line in entries.get(name, ())]
        if here:
            lines += [f"    .. rubric:: {title}", "", *here, ""]
    return lines
