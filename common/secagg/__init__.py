"""Secure sums in one trip: only the total over all honest members of a set opens, even for a dishonest coordinator.

Pairwise masks bound to the exact question and the exact set of answering sites: they cancel if all of them answered
it, and are uniform otherwise. No shares, no trip to unmask; a site that drops out costs another attempt.

    site (site.py)                                      coordinator (coordinator.py)
    SiteSession(seat, secrets, number, head, named)     CoordinatorSession(agreement)
      .opening                              -- bytes ->   .open(frame)
      .join(transcript, known) -> Joined    <- bytes --   .transcript
      Joined.acknowledgement                -- bytes ->   .acknowledge(frame)
      .confirm(confirmation, is_ancestor)   <- bytes --   .confirmation
      .context(Round) -> its name in a ledger
      .begin(Round) -> Pad                  <- Round --   .tally(Round) -> Tally
      Pad.mask(noised answer) -> Masked     -- Masked ->  Tally.accept(masked); .total() or .retry() -> Round

Everything between the two is bytes but for `Round`, whose fields travel in the request that carries the task; both
sides compute its `task` from that request, and its `ring` and `size` from study and task, never from a message.
What the caller of either side owes is listed in its module. Nothing here touches a file, clock or socket, or makes
randomness.

Read in this order: site.py, masks.py, messages.py, coordinator.py.
"""
