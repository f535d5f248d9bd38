"""How well an adapted classifier rejects outliers, over few-shot episodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.stats import rankdata

from ..utils._html import html_table
from ._calibration_error import calibration_error, calibration_error_interval, sum_gaps
from ._interval import Interval, share_interval
from ._result import count_text, score_text

Measure = Literal[
    "auroc", "false_rejection", "unknown_rejected", "accuracy_of_rest", "calibration_error"
]
MEASURES = ("auroc", "false_rejection", "unknown_rejected", "accuracy_of_rest")


class OpenSetQueries(NamedTuple):
    """What a classifier makes of known and unknown queries, in arrays (n_episodes, n_queries).

    Parameters
    ----------
    is_known : bool ndarray
        Whether a query is of a class of the support set.
    score : float64 ndarray
        Highest score of the classes (``score_samples``); NaN is padding.
    confidence : float64 ndarray
        Highest probability of the classes.
    is_right : bool ndarray
        Whether the predicted class is the true one.
    is_rejected : bool ndarray
        Whether the query is rejected.
    """

    is_known: np.ndarray
    score: np.ndarray
    confidence: np.ndarray
    is_right: np.ndarray
    is_rejected: np.ndarray

    def pad(self, is_real: np.ndarray) -> OpenSetQueries:
        """Return these queries at the real ones of more places, and padding at the others."""
        padded = []
        for values in self:
            wide = np.full(is_real.shape, False if values.dtype == bool else np.nan)
            wide[is_real] = values
            padded.append(wide)
        return OpenSetQueries(*padded)

    def take(self, episodes: np.ndarray) -> OpenSetQueries:
        """Return the queries of some of the episodes."""
        return OpenSetQueries(*(values[episodes] for values in self))

    @property
    def is_unknown(self) -> np.ndarray:
        """Whether a query is of another class."""
        return ~self.is_known & ~np.isnan(self.score)


@dataclass(frozen=True, eq=False, repr=False)
class OpenSetResult:
    """How well a classifier rejects queries of unknown classes, one value per episode.

    Known queries are inliers, of a class of the support set; unknown ones are outliers. ``str``
    returns the line to report.

    Parameters
    ----------
    auroc : ndarray of shape (n_episodes,)
        Area under the ROC curve of known against unknown queries, by ``score_samples``: how often
        a known query scores higher. It depends on no threshold.
    false_rejection : ndarray of shape (n_episodes,)
        Share of the known queries that is rejected; ``reject_rate``, if it is held.
    unknown_rejected : ndarray of shape (n_episodes,)
        Share of the unknown queries that is rejected.
    accuracy_of_rest : ndarray of shape (n_episodes,)
        Accuracy on the known queries that are not rejected; NaN where all are.
    n_unknown : int
        Unknown classes per episode.
    reject_rate : float, default=0.05
        Nominal false rejection rate, as in the ``predict`` of a classifier.
    queries : OpenSetQueries or None, default=None
        Score and confidence of each query, from which the calibration error and the figures are
        computed.

    See Also
    --------
    episodic_score : Returns this with ``n_unknown``, as ``open_set`` of the result.
    sklearn_fewshot.inspection.RiskCoverageDisplay : The same for all thresholds, as a figure.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_fewshot.model_selection import OpenSetResult
    >>> result = OpenSetResult(
    ...     auroc=np.array([0.9, 0.8, 0.9, 0.8]),
    ...     false_rejection=np.array([0.04, 0.08, 0.04, 0.04]),
    ...     unknown_rejected=np.array([0.5, 0.4, 0.6, 0.3]),
    ...     accuracy_of_rest=np.array([0.95, 0.9, 0.95, 1.0]),
    ...     n_unknown=5,
    ... )
    >>> print(result.interval("auroc"))
    0.85 (0.7319 to 0.9301, 95 % Korn-Graubard interval over 4 episodes)
    """

    auroc: np.ndarray
    false_rejection: np.ndarray
    unknown_rejected: np.ndarray
    accuracy_of_rest: np.ndarray
    n_unknown: int
    reject_rate: float = 0.05
    queries: OpenSetQueries | None = None

    @property
    def calibration_error(self) -> float:
        """Expected calibration error of ``predict_proba`` on all known queries, in 15 bins."""
        return float(calibration_error(*(part.sum(axis=0) for part in self._gaps())))

    def interval(self, measure: Measure = "auroc") -> Interval:
        r"""Return the mean of a measure with its 95 % interval over episodes.

        Parameters
        ----------
        measure : {"auroc", "false_rejection", "unknown_rejected", "accuracy_of_rest", ...}
            The measure: one of these, or "calibration_error".

        Returns
        -------
        interval : Interval
            That of a share, over the episodes that have a value: its name says how many. For the
            calibration error, which is one of all queries, a bootstrap interval.

        Raises
        ------
        ValueError
            If there is no such measure, or there are no queries to compute it from.

        Notes
        -----
        Chance alone keeps a calibration error above 0, and those of resampled episodes above that.
        So deviations of the resamples from their mean are put around the error (basic bootstrap,
        equation 5.6 of Davison and Hinkley, 1997). From the lower end the bias is subtracted too,
        estimated by the resamples and enlarged by :math:`1 / (\sqrt 2 - 1)`, as it must be if the
        error is by chance alone: then the interval reaches 0.

        References
        ----------
        A. C. Davison and D. V. Hinkley, "Bootstrap Methods and their Application", 1997.
        """
        if measure == "calibration_error":
            return calibration_error_interval(*self._gaps(), "episodes")
        if measure not in MEASURES:
            raise ValueError(
                f"interval takes {', '.join(MEASURES)} or calibration_error. Got {measure!r}."
            )
        values = getattr(self, measure)
        values = values[~np.isnan(values)]
        if not len(values):
            return Interval(np.nan, np.nan, np.nan, "no value: every known query is rejected")
        return share_interval(values, "episodes")

    def _gaps(self) -> tuple[np.ndarray, np.ndarray]:
        """Return sums of hits minus confidences of each episode and bin, and its known queries."""
        if self.queries is None:
            raise ValueError(
                "This result has no queries to compute the calibration error from. Results of "
                "episodic_score have."
            )
        known = self.queries.is_known
        confidence, is_right = self.queries.confidence[known], self.queries.is_right[known]
        return sum_gaps(confidence, is_right, np.nonzero(known)[0]), known.sum(axis=1)

    def _of(self, episodes: np.ndarray) -> OpenSetResult:
        """Return the result of some of the episodes."""
        parts: dict[str, Any] = {name: values[episodes] for name, values in self._columns().items()}
        queries = None if self.queries is None else self.queries.take(episodes)
        return replace(self, queries=queries, **parts)

    def _columns(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in MEASURES}

    def _texts(self) -> dict[str, str]:
        """Return the texts of mean and interval of each measure."""
        texts = {}
        for name in (*MEASURES, *(["calibration_error"] if self.queries is not None else [])):
            texts[name] = score_text(self.interval(name), "accuracy")  # type: ignore[arg-type]
        n_values = int(np.count_nonzero(~np.isnan(self.accuracy_of_rest)))
        if n_values < len(self.auroc):
            texts["accuracy_of_rest"] += f" in {count_text(n_values, 'episode', 'episodes')}"
        return texts

    def _conditions(self) -> str:
        return (
            f"{count_text(self.n_unknown, 'unknown class', 'unknown classes')}, "
            f"reject_rate={self.reject_rate:g}, "
            f"{count_text(len(self.auroc), 'episode', 'episodes')}, interval over episodes"
        )

    def __str__(self) -> str:
        """Return the line to report."""
        texts = self._texts()
        error = texts.get("calibration_error")
        return (
            f"AUROC {texts['auroc']}, rejected {texts['false_rejection']} of known and "
            f"{texts['unknown_rejected']} of unknown queries, accuracy of the rest "
            f"{texts['accuracy_of_rest']}{f', calibration error {error}' if error else ''} "
            f"({self._conditions()})"
        )

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        titles = {
            "auroc": "AUROC of known against unknown queries",
            "false_rejection": "known queries rejected",
            "unknown_rejected": "unknown queries rejected",
            "accuracy_of_rest": "accuracy of the rest",
            "calibration_error": "calibration error",
        }
        rows = [(titles[name], text) for name, text in self._texts().items()]
        return html_table(rows, caption=self._conditions())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


def open_set_result(queries: OpenSetQueries, n_unknown: int, reject_rate: float) -> OpenSetResult:
    """Return the measures of each episode."""
    known, is_kept = queries.is_known, queries.is_known & ~queries.is_rejected
    return OpenSetResult(
        auroc=_auroc(queries),
        false_rejection=_share(queries.is_rejected, known),
        unknown_rejected=_share(queries.is_rejected, queries.is_unknown),
        accuracy_of_rest=_share(queries.is_right, is_kept),
        n_unknown=n_unknown,
        reject_rate=reject_rate,
        queries=queries,
    )


def _share(which: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the share of each episode's queries; NaN where it is one among none."""
    n_among = among.sum(axis=1)
    shares = np.full(len(n_among), np.nan)
    return np.divide((which & among).sum(axis=1), n_among, out=shares, where=n_among > 0)


def _auroc(queries: OpenSetQueries) -> np.ndarray:
    """Return the area of each episode, by the ranks of its known queries (Mann and Whitney)."""
    n_known, n_unknown = queries.is_known.sum(axis=1), queries.is_unknown.sum(axis=1)
    n_padding = np.isnan(queries.score).sum(axis=1)  # ranked first
    ranks = rankdata(np.where(np.isnan(queries.score), -np.inf, queries.score), axis=1)
    n_below = np.where(queries.is_known, ranks - n_padding[:, None], 0.0).sum(axis=1)
    return np.asarray((n_below - n_known * (n_known + 1) / 2) / (n_known * n_unknown))
