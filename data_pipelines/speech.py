"""Records of a corpus, described by TensorFlow Datasets without TensorFlow."""

import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer

from s02jax.data import records

_FILE_BYTES = 2**28  # most bytes of a file of records


class CorpusBuilder(tfds.core.GeneratorBasedBuilder):
  """Builder of TFDS that describes the records, and reads them for others."""

  name = "speech"  # of the folder that holds the records
  VERSION = tfds.core.Version(records.FORMAT_VERSION)

  def __init__(self, data_dir: pathlib.Path, description: str):
    self._description = description
    super().__init__(data_dir=os.fspath(data_dir), file_format="array_record")

  def _info(self) -> tfds.core.DatasetInfo:
    text = tfds.features.Text
    return tfds.core.DatasetInfo(
      builder=self,
      description=self._description,
      disable_shuffling=True,
      features=tfds.features.FeaturesDict(
        {
          "id": text(doc="unique within the corpus"),
          "audio": tfds.features.Scalar(
            np.object_, doc="FLAC, mono, 16 bit, at the rate of card.json"
          ),
          "num_samples": tfds.features.Scalar(np.int32),
          "duration": tfds.features.Scalar(np.float32, doc="seconds"),
          "text": text(doc="NFC; empty without transcript"),
          "language": text(doc="code of s02jax.core.languages"),
          "speaker": text(),
          "source": text(doc="file or generator"),
          "emotion": text(doc="empty if unknown"),
          "description": text(doc="of the voice; empty if unknown"),
        }
      ),
    )

  def _split_generators(self, dl_manager):
    raise NotImplementedError("`write` writes the records")

  def _generate_examples(self):
    raise NotImplementedError("`write` writes the records")


def serialiser() -> Callable[[Mapping[str, Any]], bytes]:
  """Function from the fields of a record to bytes, alike in every process.

  TFDS's own writer leaves the order of the fields to protobuf, which draws it
  anew for each process.
  """
  features = CorpusBuilder(pathlib.Path("."), "").info.features
  assert features is not None
  convert = example_serializer.ExampleSerializer(
    features.get_serialized_info()
  ).get_tf_example

  def serialise(record: Mapping[str, Any]) -> bytes:
    example = convert(features.encode_example(record))
    return example.SerializeToString(deterministic=True)

  return serialise


def shard_name(split: str, number: int, count: int) -> str:
  """Name of a file of records that `describe` finds."""
  return (
    f"{CorpusBuilder.name}-{split}.array_record-{number:05d}-of-{count:05d}"
  )


def describe(
  folder: pathlib.Path, description: str, lengths: Mapping[str, list[int]]
) -> None:
  """Writes the metadata of records that lie in <folder>/speech/<version>.

  Args:
    folder: corpus folder.
    description: sentence for the dataset's card.
    lengths: split -> number of records in each of its files, in order.
  """
  builder = CorpusBuilder(folder, description)
  path = records.CorpusFiles(folder).records
  splits = [
    tfds.core.SplitInfo(
      name=split,
      shard_lengths=counts,
      num_bytes=sum(file.stat().st_size for file in path.glob(f"*-{split}.*")),
      filename_template=tfds.core.ShardedFileTemplate(
        data_dir=path,
        dataset_name=CorpusBuilder.name,
        split=split,
        filetype_suffix="array_record",
      ),
    )
    for split, counts in lengths.items()
  ]
  builder.info.set_splits(tfds.core.splits.SplitDict(splits))
  builder.info.write_to_directory(path)


def write(
  folder: pathlib.Path,
  description: str,
  examples: Mapping[str, Iterable[Mapping[str, Any]]],
) -> None:
  """Writes <folder>/speech/<version>: the same bytes for the same records.

  Args:
    folder: corpus folder.
    description: sentence for the dataset's card.
    examples: split -> records, in order; a split is read after the one before.
  """
  path = records.CorpusFiles(folder).records
  path.mkdir(parents=True)
  serialise = serialiser()
  lengths = {
    split: _write_split(path, split, map(serialise, rows))
    for split, rows in examples.items()
  }
  describe(folder, description, lengths)


def _write_split(
  path: pathlib.Path, split: str, rows: Iterable[bytes]
) -> list[int]:
  """Writes the files of a split; returns the number of records in each."""
  lengths: list[int] = []
  size, writer = 0, None
  for row in rows:
    if writer is None or size + len(row) > _FILE_BYTES:
      if writer is not None:
        writer.close()
      part = path / f"{split}-{len(lengths)}.part"
      writer = array_record_module.ArrayRecordWriter(str(part), "group_size:1")
      lengths.append(0)
      size = 0
    writer.write(row)
    lengths[-1] += 1
    size += len(row)
  if writer is not None:
    writer.close()
  for number in range(len(lengths)):
    part = path / f"{split}-{number}.part"
    part.rename(path / shard_name(split, number, len(lengths)))
  return lengths
