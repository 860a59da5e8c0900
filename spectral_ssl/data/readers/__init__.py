"""Readers of the formats data come in: arrays, text, tables, pictures and the files of well-known image sets.

Nothing here runs what a file says, writes or downloads anything. A file that is missing, empty, truncated or of another
kind ends in one `DataError` sentence that names the file and, for text, the line.
"""

from spectral_ssl.data.readers.columns import read_labels
from spectral_ssl.data.readers.dispatch import READERS, Reader, read_array, read_dataset
from spectral_ssl.data.readers.pairs import read_pairs
from spectral_ssl.data.readers.torch_data import from_torch

__all__ = ["READERS", "Reader", "from_torch", "read_array", "read_dataset", "read_labels", "read_pairs"]
