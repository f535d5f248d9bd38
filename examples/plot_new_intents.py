"""
Sentences: new intents from one example
=======================================

An assistant classifies sentences by intent: to cancel a flight, to change a hotel. New intents come
with a sentence or two each. A TF-IDF pipeline turns sentences into vectors, and the network after
it learns from the base intents which words matter and which are politeness.

The sentences are put together from phrases, so that the example needs no download, and new intents
combine words of base intents. Where new intents bring new words, TF-IDF fitted on old sentences
loses them: take the embeddings of a sentence encoder in its place, without any other change.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_fewshot import ProtoNetClassifier, adapt
from sklearn_fewshot.inspection import ShotCurveDisplay
from sklearn_fewshot.model_selection import shot_curve

# %%
# The data: eight actions on twelve objects, each in three phrasings, with polite openings and
# endings.

DEEDS = {
    "book": "book|reserve|arrange",
    "cancel": "cancel|call off|get rid of",
    "change": "change|modify|move",
    "pay": "pay for|settle|transfer the money for",
    "find": "find|look up|locate",
    "rate": "rate|review|give my opinion on",
    "share": "share|forward|send a friend",
    "compare": "compare prices of|see cheaper offers for|weigh up",
}
THINGS = {
    "flight": "flight|plane|trip by air",
    "hotel": "hotel|room|place to stay",
    "table": "table|restaurant|dinner",
    "taxi": "taxi|cab|ride",
    "insurance": "insurance|policy|cover",
    "concert": "concert|gig|show",
    "parcel": "parcel|package|delivery",
    "doctor": "doctor|appointment|check-up",
    "phone": "phone plan|mobile contract|sim card",
    "car": "rental car|hire car|van",
    "course": "course|class|lesson",
    "loan": "loan|mortgage|credit",
}
OPENINGS = "please|could you|i would like to|can you help me to|i need to|time to"
ENDINGS = "|today|as soon as you can|for my mother|before friday|again|, thanks|now"

rng = np.random.default_rng(0)


def said(deed, thing):
    """Put together a sentence that asks for it."""
    phrases = (OPENINGS, DEEDS[deed], "the|my|that|our|this", THINGS[thing], ENDINGS)
    return " ".join(rng.choice(phrase.split("|")) for phrase in phrases).strip()


intents = [(deed, thing) for deed in DEEDS for thing in THINGS]
sentences = []
for intent in intents:  # no duplicates: a query must not be in the support set
    different = set()
    while len(different) < 25:
        different.add(said(*intent))
    sentences += list(rng.permutation(sorted(different)))
sentences = np.array(sentences)
y = np.repeat([f"{deed} {thing}" for deed, thing in intents], 25)
names = np.unique(y)
new = np.isin(y, rng.permutation(names)[:20])
print(f"{len(names) - 20} base intents, 20 new ones. Some sentences:")
print(*(f"    {sentences[row]} means {y[row]}" for row in (0, 700, 1300, 2200)), sep="\n")

# %%
# Meta-training as the last step of the pipeline.

words = make_pipeline(TfidfVectorizer(sublinear_tf=True), TruncatedSVD(64, random_state=0))
learner = ProtoNetClassifier(n_shot=(1, 5), max_epochs=12, random_state=0)
pipe = make_pipeline(*(step for _, step in words.steps), learner)
pipe.fit(sentences[~new], y[~new])

# %%
# Adapt to the new intents from one sentence each. ``adapt`` passes the sentences through the fitted
# steps.

one_each = [np.flatnonzero(y == name)[0] for name in np.unique(y[new])]
assistant = adapt(pipe, sentences[one_each], y[one_each])
asked = np.setdiff1d(np.flatnonzero(new), one_each)
for row in rng.choice(asked, 5, replace=False):
    sentence = sentences[[row]]
    answer, sure = assistant.predict(sentence)[0], assistant.predict_proba(sentence).max()
    print(f"{sentences[row]}: {answer} ({100 * sure:.0f} %); it was {y[row]}")
print(f"All 20 new intents: {100 * assistant.score(sentences[asked], y[asked]):.1f} % right")

# %%
# How many examples does an intent need? The baseline is a logistic regression on the same vectors,
# fitted on the support set only.

task = {"n_shots": (1, 2, 5, 10), "n_way": "all", "n_query": 10, "n_episodes": 60}
curves = {
    "meta-trained on 76 intents": shot_curve(pipe, sentences[new], y[new], **task),
    "logistic regression": shot_curve(
        LogisticRegression(C=10), sentences[new], y[new], preprocess=pipe[:-1], **task
    ),
}
display = ShotCurveDisplay.from_curves(curves)
display.ax_.set_title("Twenty new intents")
plt.show()
