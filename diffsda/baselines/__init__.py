"""Other systems of sequential disentanglement behind one protocol, to compare with.

So far their networks, losses, sampling and authors' weights; training and comparing them by command is to come.
"""

SYSTEMS = {
    "dbse-video": "diffsda.baselines.dbse.video:VideoDBSE",
    "dbse-audio": "diffsda.baselines.dbse.audio:AudioDBSE",
    "dbse-series": "diffsda.baselines.dbse.series:SeriesDBSE",
    "spyl": "diffsda.baselines.spyl.model:SPYL",
    "divid": "diffsda.baselines.divid.model:DiViD",
}
"""System: its class, as module and name."""
