"""Fields of a serialised tf.train.Example, without TensorFlow or its like.

TensorFlow Datasets writes the records of a corpus in this form. Its own reader
checks and converts every field in Python, several times the work of finding
them; here protobuf finds them in C, by a description of the message that is
compatible on the wire:

  Example    { Features features = 1; }
  Features   { repeated Entry entry = 1; }       a map, on the wire
  Entry      { string key = 1; Feature value = 2; }
  Feature    { BytesList bytes_list = 1; }       other kinds are left out
  BytesList  { repeated bytes value = 1; }
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPE = descriptor_pb2.FieldDescriptorProto
# Message -> its field: name, type, and label.
_MESSAGES = {
  "Example": [("features", "Features", _TYPE.LABEL_OPTIONAL)],
  "Features": [("entry", "Entry", _TYPE.LABEL_REPEATED)],
  "Entry": [
    ("key", _TYPE.TYPE_STRING, _TYPE.LABEL_OPTIONAL),
    ("value", "Feature", _TYPE.LABEL_OPTIONAL),
  ],
  "Feature": [("bytes_list", "BytesList", _TYPE.LABEL_OPTIONAL)],
  "BytesList": [("value", _TYPE.TYPE_BYTES, _TYPE.LABEL_REPEATED)],
}


def _message() -> Any:
  """Class of the message `Example` above."""
  file = descriptor_pb2.FileDescriptorProto(
    name="s02jax/example.proto", package="s02jax", syntax="proto2"
  )
  for name, fields in _MESSAGES.items():
    message = file.message_type.add(name=name)
    for number, (field, kind, label) in enumerate(fields, 1):
      made = message.field.add(name=field, number=number, label=label)
      if isinstance(kind, str):
        made.type, made.type_name = _TYPE.TYPE_MESSAGE, f".s02jax.{kind}"
      else:
        made.type = kind
  pool = descriptor_pool.DescriptorPool()
  pool.Add(file)
  return message_factory.GetMessageClass(
    pool.FindMessageTypeByName("s02jax.Example")
  )


_Example = _message()


def fields(data: bytes) -> dict[str, bytes]:
  """Fields of bytes by name, of each the first value; other kinds left out.

  Raises:
    ValueError: the bytes are no such message.
  """
  try:
    entries = _Example.FromString(data).features.entry
  except Exception as error:  # DecodeError, of whichever protobuf is in use
    raise ValueError(f"not a record of a corpus: {error}") from error
  return {
    entry.key: entry.value.bytes_list.value[0]
    for entry in entries
    if entry.value.bytes_list.value
  }
