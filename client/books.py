"""What the entries of a ledger add up to, and which entry may follow. Pure: client/ledger.py makes it durable.

Rules, each named where it is checked:
  B1  a study's plan is paid for once, whole, before its first release; a closed study stays closed;
  B2  releases are answered in order: release r is reserved after r - 1 was committed, attempts of a release only rise;
  B3  a (release, attempt) is reserved once, for one request; the same request again finds its reservation;
  B4  what is reserved is what was planned;
  B5  only the newest reservation can be committed, once;
  B6  no more certified histories are paid for than delta has room for, in all studies together (sampled.py).
An entry that breaks one of them on disk is Tampered: it was not written by this code.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction

from silosynth.client.entries import Committed, Declined, Entry, Opened, Planned, Receipted, Record, Reserved, Voided
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
class Account:
    """One study's page."""

    plan: Planned
    spent: Price
    newest: Reserved | None = None
    answer: Answer | None = None
    closed: bool = False

    @property
    def is_answered(self) -> bool:
        """Whether the newest reservation was committed."""
        return self.answer is not None and self.answer.reserved == self.newest

    @property
    def unreserved(self) -> Price:
        """The price of the planned releases that were never begun: none of a certified step that was."""
        return price(self.plan.event(0 if self.newest is None else self.newest.release + 1))


@dataclass
class Books:
    """All pages, and how far the chain was read."""

    seq: int = 0
    lifetime: Price = field(default_factory=Price)
    accounts: dict[str, Account] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)

    def account(self, study: str) -> Account:
        """The open page of a study. Raises Refused where there is none (B1)."""
        account = self.accounts.get(study)
        if account is None:
            raise Refused(Reason.NOT_APPROVED)
        if account.closed:
            raise Refused(Reason.STUDY_CLOSED)
        return account

    def charge(self, wanted: Planned | Reserved) -> Price:
        """What an entry costs: a plan all of its releases; a reservation nothing more, but for a retry."""
        if isinstance(wanted, Planned):
            return price(wanted.event()) + Price(noiseless=not wanted.private)
        return price(wanted.event) if wanted.attempt else FREE

    def after(self, wanted: Planned | Reserved) -> Spending:
        """What will have been spent if `wanted` is written."""
        cost = self.charge(wanted)
        account = self.accounts.get(wanted.study)
        return Spending((account.spent if account else Price()) + cost, self.lifetime + cost)

    def is_planned(self, wanted: Planned) -> bool:
        """Whether a plan is paid for already. Raises Refused where it cannot be: its study was closed (B1), or (B6)."""
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
        step = account.plan.step_of(wanted.release)
        if step is None or step.event != wanted.event:
            raise Refused(Reason.OUT_OF_PLAN)  # B4
        newest = account.newest
        if newest is not None and (newest.release, newest.attempt) == (wanted.release, wanted.attempt):
            if newest != wanted:
                raise Refused(Reason.ANSWERED_DIFFERENTLY)  # B3
            return True
        if newest is None:
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

    def reserved(self, study: str, release: int, attempt: int) -> Reserved:
        """The reservation that an answer belongs to. Raises Refused where it is not the newest of its study (B5)."""
        newest = self.account(study).newest
        if newest is None or (newest.release, newest.attempt) != (release, attempt):
            raise Refused(Reason.OUT_OF_ORDER)
        return newest

    def fold(self, entry: Entry) -> None:
        """Take in the next entry of the chain. Raises Tampered where it breaks a rule."""
        try:
            fits = self._fold(entry.record, entry.hash) and (entry.seq == 1) == isinstance(entry.record, Opened)
        except Refused:
            fits = False
        if not fits:
            raise Tampered(f"ledger entry {entry.seq} cannot follow the entries before it")
        self.seq = entry.seq

    def _fold(self, record: Record, receipt: str) -> bool:
        match record:
            case Opened() | Receipted():
                return True
            case Declined(study):
                self.refusals[study] = self.refusals.get(study, 0) + 1
                return True
            case Voided(study):
                account = self.account(study)
                credit = account.unreserved
                self.lifetime = self.lifetime.less(credit)
                self.accounts[study] = replace(account, spent=account.spent.less(credit), closed=True)
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
                self.accounts[study] = replace(self.accounts[study], answer=Answer(reserved, record, receipt))
                return fits
