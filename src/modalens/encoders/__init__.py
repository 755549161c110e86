"""Encoders: decoded form -> cached features with named axes. One file each; what they share is exported here."""

from modalens.encoders._base import Encoder, attributes, check_input, encode, encode_file, load_encoder

__all__ = ["Encoder", "attributes", "check_input", "encode", "encode_file", "load_encoder"]
