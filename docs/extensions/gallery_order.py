"""Order of the examples: of reading where it is given here, then by name."""

from sphinx_gallery.sorting import FileNameSortKey

FIRST = (
    "plot_quickstart.py",
    "plot_table.py",
    "plot_series.py",
    "plot_new_intents.py",
    "plot_photos.py",
    "plot_new_alphabet.py",
    "plot_old_and_new.py",
    "plot_growing.py",
    "plot_zero_shot.py",
    "plot_sinusoids.py",
    "plot_verification.py",
    "plot_embedding.py",
    "plot_attention.py",
    "plot_shot_curve.py",
    "plot_comparing.py",
    "plot_model_selection.py",
)
LAST = ("dask_cluster.py",)


class ReadingOrder(FileNameSortKey):
    def __call__(self, filename):
        name = str(filename)
        place = FIRST.index(name) if name in FIRST else len(FIRST)
        return (name in LAST, place, name)
