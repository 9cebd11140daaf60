"""A stand-in for the CUDA timer, for tests on the CPU: the host's clock. No figure it gives is a record."""

import time


class WallClock:
    """Time calls by the host's clock; graphs are plain calls."""

    def cold(self, call):
        began = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - began)

    def graph(self, call):
        return lambda: self.cold(call)
