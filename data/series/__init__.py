"""Time series: tables read strictly, and the three measured sets of the paper."""
