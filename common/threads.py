"""One thread for linear algebra, where numbers must come out alike on every machine."""

from threadpoolctl import threadpool_limits


def alone() -> threadpool_limits:
    """A context in which BLAS uses one thread: its sums are then added in one order, however many cores there are.

    torch.set_num_threads says nothing to the BLAS of NumPy, nor to that of SciPy; import what has one beforehand.
    """
    return threadpool_limits(limits=1, user_api="blas")
