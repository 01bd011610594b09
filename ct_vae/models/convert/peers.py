"""The foreign formats."""

from __future__ import annotations

from ct_vae.models.convert.compvis import CompVis
from ct_vae.models.convert.diffusers import Diffusers
from ct_vae.models.convert.monai import Maisi, Monai
from ct_vae.models.convert.peer import Form, Peer

PEERS: dict[Form, Peer] = {peer.form: peer for peer in (CompVis(), Diffusers(), Monai(), Maisi())}
