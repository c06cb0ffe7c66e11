"""Serve any nn.Module: find and swap its layers, run it, copy it, refuse it, fill it, store it whole and small."""

from .calls import class_scores as class_scores, input_of as input_of, with_batch as with_batch
from .copies import copy_of as copy_of
from .files import (
    PARTIAL as PARTIAL,
    fill_network as fill_network,
    load_tensors as load_tensors,
    read_tensors as read_tensors,
    remove_partial as remove_partial,
    tensors_of as tensors_of,
    whole as whole,
    whole_folder as whole_folder,
    write_tensors as write_tensors,
    write_text as write_text,
)
from .kinds import (
    Layer as Layer,
    Progress as Progress,
    ignored as ignored,
    is_plain as is_plain,
    weighted as weighted,
)
from .memory import trim as trim
from .modes import (
    answer as answer,
    evaluating as evaluating,
    frozen as frozen,
    images_of as images_of,
    observing as observing,
    writes_input as writes_input,
)
from .packed import (
    compress_bytes as compress_bytes,
    network_bytes as network_bytes,
    write_network as write_network,
)
from .packing import compressed_size_of as compressed_size_of, pack as pack, size_of as size_of
from .refusals import check_numbers as check_numbers, check_visible as check_visible
from .surgery import check_untied as check_untied, obstacles as obstacles, replace as replace
