"""Makes the TLS of the lab's coordinator write down the secrets of each connection, for the lab to read.

The sites' processes run as they are. Python imports a module of this name by itself at start-up.
"""

import os
import ssl

_LOG = os.environ["LAB_TLS_SECRETS"]
_wrap = ssl.SSLContext.wrap_bio


def _told(self: ssl.SSLContext, *arguments: object, **options: object) -> ssl.SSLObject:
    self.keylog_filename = _LOG
    return _wrap(self, *arguments, **options)  # type: ignore[arg-type]


ssl.SSLContext.wrap_bio = _told  # type: ignore[method-assign]
