"""What the entries of a ledger add up to, and which entry may follow. Pure: client/ledger.py makes it durable.

Rules, each named where it is checked:
  B1  a study's plan is paid for once, whole, before its first release; a closed study stays closed;
  B2  releases are answered in order: release r is reserved after r - 1 was committed, attempts of a release only rise;
  B3  a (release, attempt) is reserved once, for one request; the same request again finds its reservation;
  B4  what is reserved is what was planned;
  B5  only the newest reservation can be committed, once;
  B6  no more certified histories are paid for than delta has room for, in all studies together (sampled.py);
  B7  a release has at most as many attempts as the study says, counted from 0;
  B8  masked sums are answered in sessions, plain ones outside; sites may drop out and come back, so that a release of
      masked sums may be left out, but none is begun after a later one;
  B9  session numbers rise over the whole ledger, and a masked release is answered in the newest session of its study,
      before its end. What the plan paid for may be spent in several sessions, one after the other, as long as each was
      seen to end by the process that held it. One that was not is *lost*: if the file was restored from a copy made
      within it, all it tells of that session may be its beginning. So a lost session pays at its end for as many
      retries as it may have answered (S8 of secagg/site.py), and the study's next one for all releases that are left,
      once more. A process loses what it does not hold before it promises anything, in any study. Nothing is credited
      to a masked study: a copy from before its first session does not tell that there was one;
  B10 a barred ledger goes on with no study until a person has freed it; then all sessions count as lost;
  B11 after its receipt nothing of a study is paid for, answered or credited: what was charged is what the receipt says;
  B12 a plan costs what its dearer part costs, training or hold-out: a unit is in one of them (privacy.Parallel). What
      is credited is therefore the price of the whole less that of what was begun, in which the dearer part may be
      another one than in the rest: with equal parts, half of one begun, nothing is credited, although the rest has a
      price. After a lost session the rest is paid for again as the dearer part of the rest: whichever part a unit is
      in, it was paid once for the whole of it and again for the rest of it. A retry costs its event, whichever part
      answers it.
An entry that breaks one of them on disk is Tampered: it was not written by this code.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction

from silosynth.client.entries import (
    Barred,
    Committed,
    Declined,
    Ended,
    Entry,
    Freed,
    Opened,
    Planned,
    Receipted,
    Reserved,
    Sessioned,
    Settled,
    Voided,
)
from silosynth.client.refusal import Reason, Refused
from silosynth.common.errors import Tampered
from silosynth.common.privacy import Event, Unpriced, View, mu_squared
from silosynth.common.sampled import MOST_CERTIFIED


@dataclass(frozen=True)
class Price:
    """Exact mu^2 in both views; `noiseless` where something has none, and then no finite cap covers it."""

    aggregate: Fraction = Fraction(0)
    local: Fraction = Fraction(0)
    noiseless: bool = False

    def __add__(self, other: "Price") -> "Price":
        if other is FREE:  # most entries: a long chain is read in half a second
            return self
        return Price(self.aggregate + other.aggregate, self.local + other.local, self.noiseless or other.noiseless)

    def less(self, other: "Price") -> "Price":
        """What is left after a credit. What was without noise stays so."""
        return Price(self.aggregate - other.aggregate, self.local - other.local, self.noiseless)

    def within(self, view: View) -> Fraction:
        """mu^2 in one view."""
        return self.aggregate if view is View.AGGREGATE else self.local


FREE = Price()


def price(event: Event) -> Price:
    """The price of an event."""
    try:
        return Price(mu_squared(event, View.AGGREGATE), mu_squared(event, View.LOCAL))
    except Unpriced:
        return Price(noiseless=True)


def dearest(prices: Iterable[Price]) -> Price:
    """The price of disjoint parts, each of which has one: the largest, in each view."""
    every = [FREE, *prices]
    return Price(
        max(one.aggregate for one in every), max(one.local for one in every), any(one.noiseless for one in every)
    )


@dataclass(frozen=True)
class Spending:
    """What would have been spent after an entry: by its study, and by all studies this ledger has ever seen."""

    study: Price
    lifetime: Price


@dataclass(frozen=True)
class Answer:
    """The newest committed release of a study. `receipt`: the hash of its entry."""

    reserved: Reserved
    committed: Committed
    receipt: str


@dataclass(frozen=True)
class Settlement:
    """The entry that closed a study with its receipt: its number and hash, and the hash of the charges it binds."""

    number: int
    hash: str
    charges: str


@dataclass(frozen=True)
class Account:
    """One study's page."""

    plan: Planned
    spent: Price
    newest: Reserved | None = None
    answer: Answer | None = None
    closed: bool = False
    session: int = 0
    """Number of its newest session, 0 before the first."""
    live: bool = False
    """Whether that session has not ended."""
    again: bool = False
    """Whether the next session pays for all that is left once more: the one before was lost."""
    settled: Settlement | None = None

    @property
    def is_answered(self) -> bool:
        """Whether the newest reservation was committed."""
        return self.answer is not None and self.answer.reserved == self.newest

    @property
    def begun(self) -> int:
        """The first release that was never begun."""
        return 0 if self.newest is None else self.newest.release + 1

    @property
    def unreserved(self) -> Price:
        """The price of the planned releases that were never begun: none of a certified step that was."""
        return price(self.plan.event(self.begun))

    @property
    def credit(self) -> Price:
        """What is given back where nothing more will be answered (B12)."""
        whole = price(self.plan.event())
        return FREE if whole.noiseless else whole.less(price(self.plan.begun(self.begun)))

    @property
    def retried(self) -> Price:
        """The most that retries of a lost session may have cost of which this page tells nothing."""
        left = [price(event) for event in self.plan.kinds(0 if self.newest is None else self.newest.release)]
        aggregate = max((one.aggregate for one in left), default=Fraction(0))
        local = max((one.local for one in left), default=Fraction(0))
        return Price(self.plan.retries * aggregate, self.plan.retries * local)


@dataclass
class Books:
    """All pages, and how far the chain was read."""

    seq: int = 0
    lifetime: Price = field(default_factory=Price)
    accounts: dict[str, Account] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    sessions: int = 0
    barred: bool = False

    def check_not_barred(self) -> None:
        """Raise Refused where the ledger is barred (B10)."""
        if self.barred:
            raise Refused(Reason.ROLLED_BACK)

    def account(self, study: str) -> Account:
        """The open page of a study. Raises Refused where there is none (B1, B10, B11)."""
        account = self.page(study)
        if account.settled:
            raise Refused(Reason.STUDY_CLOSED)
        return account

    def page(self, study: str) -> Account:
        """The same, also after the receipt."""
        self.check_not_barred()
        account = self.accounts.get(study)
        if account is None:
            raise Refused(Reason.NOT_APPROVED)
        if account.closed:
            raise Refused(Reason.STUDY_CLOSED)
        return account

    def charge(self, wanted: Planned | Reserved | Sessioned) -> Price:
        """What an entry costs: a plan all of its releases; a reservation nothing more, but for a retry; and see B9."""
        match wanted:
            case Planned():
                return price(wanted.event()) + Price(noiseless=not wanted.private)
            case Reserved():
                return price(wanted.event) if wanted.attempt else FREE
            case Sessioned(study):
                return self.account(study).unreserved if self.account(study).again else FREE

    def after(self, wanted: Planned | Reserved | Sessioned) -> Spending:
        """What will have been spent if `wanted` is written."""
        cost = self.charge(wanted)
        account = self.accounts.get(wanted.study)
        return Spending((account.spent if account else Price()) + cost, self.lifetime + cost)

    def is_planned(self, wanted: Planned) -> bool:
        """Whether a plan is paid for already. Raises Refused where it cannot be: its study was closed (B1), or (B6)."""
        self.check_not_barred()
        account = self.accounts.get(wanted.study)
        if account is None:
            plans = [known.plan for known in self.accounts.values()]
            if wanted.certified and wanted.certified + sum(plan.certified for plan in plans) > MOST_CERTIFIED:
                raise Refused(Reason.LIFETIME_CAP)  # B6
            return False
        if account.closed:
            raise Refused(Reason.STUDY_CLOSED)
        if account.plan != wanted:
            raise Refused(Reason.OUT_OF_PLAN)
        return True

    def is_reserved(self, wanted: Reserved) -> bool:
        """Whether a reservation stands already. Raises Refused where it cannot be made."""
        account = self.account(wanted.study)
        plan, masked = account.plan, account.plan.floor is not None
        if not plan.allows(wanted.release, wanted.event):
            raise Refused(Reason.OUT_OF_PLAN)  # B4
        if not 0 <= wanted.attempt < plan.attempts:
            raise Refused(Reason.TOO_MANY_ATTEMPTS)  # B7
        if bool(wanted.session) != masked or masked > account.live or wanted.number != account.session:
            raise Refused(Reason.NO_SESSION)  # B8, B9
        newest = account.newest
        if newest is not None and (newest.release, newest.attempt) == (wanted.release, wanted.attempt):
            if newest != wanted:
                raise Refused(Reason.ANSWERED_DIFFERENTLY)  # B3
            return True
        if masked and (newest is None or wanted.release > newest.release):
            in_order = True  # B8
        elif newest is None:
            in_order = wanted.release == 0
        elif wanted.release == newest.release:
            in_order = wanted.attempt > newest.attempt
        else:
            answer = account.answer
            answered = answer is not None and answer.committed.release == newest.release
            in_order = answered and wanted.release == newest.release + 1
        if not in_order:
            raise Refused(Reason.OUT_OF_ORDER)  # B2
        return False

    def next_session(self, study: str, nonce: str) -> Sessioned:
        """The entry that a session of a study begins with (B9). Raises Refused where there can be none."""
        account = self.account(study)
        if account.plan.floor is None:
            raise Refused(Reason.BAD_SESSION)  # B8
        if account.live:
            raise Refused(Reason.NO_SESSION)
        return Sessioned(study, self.sessions + 1, nonce)

    @property
    def live(self) -> tuple[tuple[str, int], ...]:
        """Sessions that have not ended, by study and number."""
        return tuple((study, account.session) for study, account in self.accounts.items() if account.live)

    def reserved(self, study: str, release: int, attempt: int) -> Reserved:
        """The reservation that an answer belongs to. Raises Refused where it is not the newest of its study (B5)."""
        newest = self.account(study).newest
        if newest is None or (newest.release, newest.attempt) != (release, attempt):
            raise Refused(Reason.OUT_OF_ORDER)
        return newest

    def fold(self, entry: Entry) -> None:
        """Take in the next entry of the chain. Raises Tampered where it breaks a rule."""
        try:
            fits = self._fold(entry) and (entry.seq == 1) == isinstance(entry.record, Opened)
        except Refused:
            fits = False
        if not fits:
            raise Tampered(f"ledger entry {entry.seq} cannot follow the entries before it")
        self.seq = entry.seq

    def _fold(self, entry: Entry) -> bool:  # noqa: PLR0911  # one return a kind
        record = entry.record
        match record:
            case Opened() | Receipted():
                return True
            case Sessioned() | Ended() | Barred() | Freed():
                return self._fold_session(record)
            case Declined(study):
                self.refusals[study] = self.refusals.get(study, 0) + 1
                return True
            case Voided(study):
                account = self.account(study)
                credit = account.credit if account.plan.floor is None else FREE  # B9
                self.lifetime = self.lifetime.less(credit)
                self.accounts[study] = replace(account, spent=account.spent.less(credit), closed=True)
                return True
            case Settled(study, charges):
                self.accounts[study] = replace(self.account(study), settled=Settlement(entry.seq, entry.hash, charges))
                return True
            case Planned(study):
                fits = not self.is_planned(record)
                spending = self.after(record)
                self.lifetime = spending.lifetime
                self.accounts[study] = Account(record, spending.study)
                return fits
            case Reserved(study):
                fits = not self.is_reserved(record)
                spending = self.after(record)
                self.lifetime = spending.lifetime
                self.accounts[study] = replace(self.accounts[study], spent=spending.study, newest=record)
                return fits
            case Committed(study, release, attempt):
                reserved = self.reserved(study, release, attempt)
                fits = not self.accounts[study].is_answered
                self.accounts[study] = replace(self.accounts[study], answer=Answer(reserved, record, entry.hash))
                return fits

    def _fold_session(self, record: Sessioned | Ended | Barred | Freed) -> bool:
        match record:
            case Sessioned(study, number, nonce):
                fits = record == self.next_session(study, nonce)
                spending, account = self.after(record), self.account(study)
                self.lifetime, self.sessions = spending.lifetime, number
                self.accounts[study] = replace(account, spent=spending.study, session=number, live=True, again=False)
                return fits
            case Ended(study, number, lost):
                if (study, number) not in self.live:
                    return False
                if lost:
                    self._lose(study)
                else:
                    self.accounts[study] = replace(self.accounts[study], live=False)
                return True
            case Barred():
                self.barred = True
                return True
            case Freed():
                self.barred = False
                for study, account in self.accounts.items():
                    if account.plan.floor is not None and not (account.closed or account.settled):  # B11
                        self._lose(study)
                return True

    def _lose(self, study: str) -> None:
        """A session ended, and nobody saw it (B9)."""
        account = self.accounts[study]
        self.lifetime += account.retried
        self.accounts[study] = replace(account, spent=account.spent + account.retried, live=False, again=True)
