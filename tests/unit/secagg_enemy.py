"""A dishonest coordinator with colluding sites, on the real seam: it sends honest sites whatever it likes.

It knows everything its colluders know. `stripped` takes from what an honest site sent every mask that a colluder can
compute; what is left of a sum is then either the sum itself or, if the protocol holds, as if uniform.
"""

from dataclasses import replace

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from secagg_made import elements, frames_of, own_chain, secrets_of, signer_of, site_session

from silosynth.common.secagg import masks
from silosynth.common.secagg.messages import (
    NOTHING,
    Acknowledgement,
    Kind,
    read_opening,
    transcript_hash,
    write_acknowledgement,
    write_bundle,
    write_opening,
)


def forged(agreement, site, **changes):
    """A colluder's opening with other fields, under its own signature."""
    opening = read_opening(site_session(agreement, site).opening, agreement)
    return write_opening(replace(opening, **changes), agreement, signer_of(site))


def acknowledged_by_colluder(agreement, site, transcript):
    """What a colluder says whatever it knows: nothing."""
    given = Acknowledgement(site, transcript_hash(transcript), (NOTHING,) * len(agreement.roster))
    return write_acknowledgement(given, agreement, signer_of(site))


def confirmed_by_force(agreement, honest, openings):
    """Honest sites, by index, that joined one transcript of these openings and took its confirmation."""
    transcript = write_bundle(Kind.TRANSCRIPT, openings, agreement)
    sites = {i: site_session(agreement, i) for i in honest}
    given = [
        sites[i].join(transcript, {}).acknowledgement
        if i in sites
        else acknowledged_by_colluder(agreement, i, transcript)
        for i in range(len(openings))
    ]
    for i, site in sites.items():
        site.confirm(write_bundle(Kind.CONFIRMATION, given, agreement), own_chain(i, 10))
    return transcript, sites


class Colluder:
    """A member that hands its keys to the coordinator: whatever masks it shares, the coordinator knows."""

    def __init__(self, agreement, site, key=None):
        self.agreement, self.site = agreement, site
        self.private = X25519PrivateKey.from_private_bytes(key or secrets_of(site).key)

    def mask_key(self, transcript, honest, question):
        """The key of the mask between the colluder and an honest site, in any session and round."""
        peer = read_opening(frames_of(transcript, self.agreement)[honest], self.agreement).key
        own = self.site, self.private.public_key().public_bytes_raw()
        info = masks.pair_info(self.agreement, transcript_hash(transcript), own, (honest, peer))
        ratchet = masks.Ratchet(masks.pair_secret(self.private, peer, info), self.agreement.releases)
        ratchet.forward(question.release)
        context = question.context(self.agreement, transcript_hash(transcript))
        return ratchet.derive(b"mask", context)


def stripped(masked, honest, question, transcript, colluders):
    """What `honest` sent, without the masks that these colluders share with it."""
    vector = elements(masked, question.ring).copy()
    for colluder in colluders:
        if colluder.site in question.members:
            key = colluder.mask_key(transcript, honest, question)
            masks.add_mask(vector, key, negative=honest > colluder.site)
    return vector


def opens(vector, expected):
    """Whether the attacker holds exactly these values."""
    return vector.view(f"i{vector.itemsize}").tolist() == np.asarray(expected).tolist()
