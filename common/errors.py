"""Every exception of the package, in one tree.

    SilosynthError
    ├── Diverged              a network's weights are no longer finite: the study stops before the step that did it
    ├── AnswerRejected        a site's own answer is none that an honest site gives; names the site
    ├── Declined              this site says no, to the person at it: says which rule and what to do; exit code 3
    ├── InvalidInput          a person gave something wrong: says where, what was expected and what to do; exit code 2
    │   ├── InvalidStudy      in a study file
    │   └── InvalidData       in a table: file, column, row number, never a value
    ├── MalformedFrame        bytes that are not a message of this format
    ├── NotCertified          a certificate does not prove what it says; names the first check that fails
    ├── NotPossible           asked for something this version cannot do
    ├── QuorumLost            too few sites answered for a sum to hide each of them
    ├── StudyRefused          sites said no; carries (site, reason) pairs
    ├── SumRefused            a message of a secure sum breaks a rule (secagg/faults.py)
    │   └── Locked            a site whose ledger is older than what its peers have seen of it
    └── Tampered              a chain of hashes is broken: nothing may be spent until a person has looked

`client.refusal.Refused` is not here: it never leaves a site.
"""

from collections.abc import Sequence


class SilosynthError(Exception):
    """The root: everything this package raises on purpose."""


class InvalidInput(SilosynthError):
    """What a person gave is wrong. The text says where, what was expected, and what to do."""


class InvalidStudy(InvalidInput):
    """A study file does not say what it must."""


class InvalidData(InvalidInput):
    """A table does not hold what its schema promises. Never quotes a value."""


class Diverged(SilosynthError):
    """Learning has run away. The text says where, why, what was spent and what to do."""


class Declined(SilosynthError):
    """This site says no, to its own people. The text says which rule, where it stands, and what to do."""


class MalformedFrame(SilosynthError):
    """Bytes that are not a message of this format and version."""


class NotCertified(SilosynthError):
    """The first thing in a certificate, or beside it, that does not hold. `check`: a word of verify_receipts.Check."""

    def __init__(self, check: str, cause: str) -> None:
        super().__init__(cause)
        self.check = check


class NotPossible(SilosynthError):
    """A request this version cannot serve."""


class QuorumLost(SilosynthError):
    """Too few sites answered."""


class AnswerRejected(SilosynthError):
    """A site's answer is none that an honest site gives. Only where each site answers for itself."""

    def __init__(self, site: str, cause: str) -> None:
        super().__init__(
            f"the answer of site {site} is none that an honest site gives: {cause}. Nothing of it was used, yet "
            "what sites have answered is spent; ask that site what it runs, and start a study without it if need be"
        )
        self.site = site


class StudyRefused(SilosynthError):
    """At least one site declined a task."""

    def __init__(self, refusals: Sequence[tuple[str, str]]) -> None:
        said = "; ".join(f"site {site}: {reason}" for site, reason in refusals)
        super().__init__(f"the study was refused. {said}")
        self.refusals = tuple(refusals)


class Tampered(SilosynthError):
    """A record that must never change has changed."""
