"""
Sentences: new intents from one example
=======================================

An assistant tells by a sentence what somebody wants: to cancel a flight, to change a hotel. New
intents come with a sentence or two each. A TF-IDF pipeline turns sentences into vectors, and the
network behind it learns from the old intents which words matter and which are manners.

The sentences are put together from phrases, so that the example needs no download. Embeddings of a
language model take the place of the TF-IDF steps without any other change.
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
# The data: eight things to do with twelve things, each said in three ways, amid many manners.

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
for intent in intents:  # none twice: an equal sentence among the examples would answer a query
    different = set()
    while len(different) < 25:
        different.add(said(*intent))
    sentences += list(rng.permutation(sorted(different)))
sentences = np.array(sentences)
y = np.repeat([f"{deed} {thing}" for deed, thing in intents], 25)
names = np.unique(y)
new = np.isin(y, rng.permutation(names)[:20])
print(f"{len(names) - 20} old intents, 20 new ones. Some sentences:")
print(*(f"    {sentences[row]} means {y[row]}" for row in (0, 700, 1300, 2200)), sep="\n")

# %%
# Meta-training behind the pipeline. Words of one letter count too, and pairs of words do not.

words = make_pipeline(TfidfVectorizer(sublinear_tf=True), TruncatedSVD(64, random_state=0))
learner = ProtoNetClassifier(n_shot=(1, 5), max_epochs=12, random_state=0)
pipe = make_pipeline(*(step for _, step in words.steps), learner)
pipe.fit(sentences[~new], y[~new])

# %%
# One sentence of each of two new intents, and the assistant knows them. ``adapt`` passes the
# sentences through the fitted steps.

one_each = [np.flatnonzero(y == name)[0] for name in np.unique(y[new])]
assistant = adapt(pipe, sentences[one_each], y[one_each])
asked = np.setdiff1d(np.flatnonzero(new), one_each)
for row in rng.choice(asked, 5, replace=False):
    sentence = sentences[[row]]
    answer, sure = assistant.predict(sentence)[0], assistant.predict_proba(sentence).max()
    print(f"{sentences[row]}: {answer} ({100 * sure:.0f} %); it was {y[row]}")
print(f"All 20 new intents: {100 * assistant.score(sentences[asked], y[asked]):.1f} % right")

# %%
# How many examples does an intent need? Beside it a logistic regression on the same vectors, which
# knows nothing but the examples.

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
