"""Small things on which large ones rest, each held by itself because nothing else notices when it breaks."""

from fractions import Fraction

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from small_study import study

from silosynth.client.mechanism import SystemNoise
from silosynth.common.accounting import _root_up
from silosynth.common.csprng import Csprng
from silosynth.server.certificate import Noise
from silosynth.simulations.homes import Homes


def test_a_root_is_rounded_against_whoever_spends():
    rng = np.random.default_rng(0)
    for top, bottom in rng.integers(1, 1 << 62, (2000, 2)).tolist():
        square = Fraction(top, bottom)
        root = _root_up(square)
        assert Fraction(root) ** 2 >= square
        assert root <= float(square) ** 0.5 * (1 + 1e-15)


def test_the_stream_is_aes_256_in_counter_mode_from_zero():
    key = bytes(range(32))
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  # the block cipher itself, as reference
    blocks = b"".join(cipher.update(counter.to_bytes(16)) for counter in range(4))
    assert Csprng(key).bytes(64) == blocks


@pytest.mark.parametrize("noise", Noise)
def test_only_a_study_that_protects_nobody_may_say_so(tmp_path, noise):
    ledger = Homes(tmp_path, study(), noise, 0).ledger("a")
    for _ in range(2):  # without a policy file, and with the one that the first call wrote
        policy = Homes(tmp_path, study(), noise, 0)._policy("a", ledger)
        assert policy.allow_no_privacy is (noise is not Noise.SYSTEM)
        assert isinstance(Homes(tmp_path, study(), noise, 0)._source("a"), SystemNoise) is (noise is Noise.SYSTEM)
    ledger.close()
