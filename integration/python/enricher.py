#!/usr/bin/env python3
"""A parsing plugin of the plugin contract in Python.

It serves Parsing on WORK_DIR/sockets/py-enricher_parsing.sock and adds a field
to every draft that a pipeline hands it:

    - dynamic:
        plugin: py-enricher
        params: { label: seen-by-python }

With the name "source" as its argument it is an input plugin instead: it sends
one log for each line of standard input and ends when the node has stored all.

Messages are made from plugins.protoset, the contract's descriptors, so nothing
has to be generated; grpcio and protobuf are all it needs (on Debian the packages
python3-grpcio and python3-protobuf).
"""

import json
import os
import queue
import signal
import sys
import uuid
from concurrent import futures
from datetime import datetime, timezone

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

WORK_DIR = os.environ.get("WORK_DIR", "/workdir")
SOCKETS = os.path.join(os.path.abspath(WORK_DIR), "sockets")
PROTOSET = os.environ.get(
    "EPMESH_PROTOSET", os.path.join(os.path.dirname(os.path.abspath(__file__)), "plugins.protoset")
)


def load_messages():
    """Return a function that finds a message class of the contract by name."""
    with open(PROTOSET, "rb") as f:
        files = descriptor_pb2.FileDescriptorSet.FromString(f.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:  # each after those that it imports
        pool.Add(file)

    def find(name):
        descriptor = pool.FindMessageTypeByName("plugins." + name)
        if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22 and newer
            return message_factory.GetMessageClass(descriptor)
        return message_factory.MessageFactory(pool).GetPrototype(descriptor)

    return find


message = load_messages()
Ack, Draft, Log, Transform = (message(n) for n in ("Ack", "Draft", "Log", "Transform"))


def log(level, text, **fields):
    """Write one JSON line; the node keeps level, message and fields."""
    print(json.dumps({"@level": level, "@message": text, **fields}), file=sys.stderr, flush=True)


def parse_log(transform, context):
    """Answer one dynamic step. It is called by several threads at once."""
    draft = json.loads(transform.draft.log)
    label = transform.step.dynamic.params["label"].string_value or "seen"
    draft.setdefault("log", {})["python"] = label
    # The draft is changed in place: step, pipeline and errors go back as they came.
    transform.draft.log = json.dumps(draft, ensure_ascii=False)
    return transform.draft


def serve(name):
    os.makedirs(SOCKETS, mode=0o750, exist_ok=True)
    path = os.path.join(SOCKETS, name + "_parsing.sock")
    if os.path.exists(path):
        os.remove(path)  # left behind by a process that was killed
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=16),
        options=[("grpc.max_receive_message_length", 64 << 20)],
    )
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "plugins.Parsing",
                {
                    "ParseLog": grpc.unary_unary_rpc_method_handler(
                        parse_log,
                        request_deserializer=Transform.FromString,
                        response_serializer=Draft.SerializeToString,
                    )
                },
            )
        ]
    )
    server.add_insecure_port("unix://" + path)
    server.start()
    log("info", "serving", socket=path)

    stop = queue.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda n, _: stop.put(n))
    stop.get()
    server.stop(grace=5).wait()
    if os.path.exists(path):
        os.remove(path)


def send():
    """Send standard input, line by line, and wait for the Acks."""
    logs = queue.Queue(maxsize=1000)
    last = None
    with grpc.insecure_channel("unix://" + os.path.join(SOCKETS, "engine_server.sock")) as channel:
        call = channel.stream_stream(
            "/plugins.Engine/Input",
            request_serializer=Log.SerializeToString,
            response_deserializer=Ack.FromString,
        )(iter(logs.get, None))
        for line in sys.stdin:
            if line.strip():
                last = str(uuid.uuid4())
                logs.put(
                    Log(
                        id=last,
                        dataType="python",
                        dataSource="stdin",
                        raw=line.rstrip("\n"),
                        timestamp=datetime.now(timezone.utc).isoformat(),
                    )
                )
        if last is not None:
            for ack in call:  # an Ack covers every log sent before it
                if ack.lastId == last:
                    break
        logs.put(None)
    log("info", "all is stored", last=last)


if __name__ == "__main__":
    if sys.argv[1:] == ["source"]:
        send()
    else:
        serve("py-enricher")
