"""What a ledger charged for one study, read from its entries: the content of the study's receipt. Pure."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from silosynth.client.books import Books, Price
from silosynth.client.entries import Entry, Planned, Reserved, Sessioned
from silosynth.common.receipt import Charges, Cost, runs_of

if TYPE_CHECKING:
    from silosynth.common.privacy import Event


def charges_of(entries: Iterable[Entry], study: str) -> Charges:
    """What `entries`, a ledger's from its first on, charged for `study`, which was planned in it. Raises Tampered.

    Each price is the one that the books took when they read the entry, not another one for the same event.
    """
    books, private, planned = Books(), False, Cost()
    reserved: list[tuple[int, int, Event]] = []
    sessions: list[Cost] = []
    for entry in entries:
        before = _spent(books, study)
        books.fold(entry)
        record = entry.record
        cost = _cost(_spent(books, study).less(before))
        match record:
            case Planned(named):
                if named == study:
                    private, planned = record.private, cost
            case Reserved(named, release, attempt, _, event):
                if named == study:
                    reserved.append((release, attempt, event))
            case Sessioned(named):
                if named == study:
                    sessions.append(cost)
            case _ if cost != Cost():  # of a session that was lost: with Freed, in any study (B10)
                sessions.append(cost)
            case _:
                pass
    charged = _cost(_spent(books, study))
    return Charges(study, private, planned, runs_of(reserved), tuple(sessions), charged)


def _spent(books: Books, study: str) -> Price:
    account = books.accounts.get(study)
    return account.spent if account else Price()


def _cost(price: Price) -> Cost:
    return Cost(price.aggregate, price.local)
