/** Writes a graph as an ONNX model: the messages of onnx.proto (github.com/onnx/onnx), field numbers as there. */
import { PbfWriter } from "pbf";
import { type Attribute, DATA_TYPES, type Graph, type Initializer, type Node, type Port } from "./graph.ts";

/** onnx 1.16: what runtimes of 2024 and later read. */
const IR_VERSION = 10;
const OPSET = 21;

const ATTRIBUTE_TYPES = { float: 1, int: 2, string: 3, ints: 7 };
const EXTERNAL = 1;

/** The model's bytes, the same for the same graph. */
export function encodeModel(graph: Graph): Uint8Array {
  const writer = new PbfWriter();
  writer.writeVarintField(1, IR_VERSION);
  writer.writeStringField(2, "edge-t5");
  writer.writeMessage(7, writeGraph, graph);
  writer.writeMessage(8, writeOpset, { domain: "", version: OPSET });
  const domains = new Set(graph.nodes.map(({ op }) => operator(op).domain));
  domains.delete("");
  for (const domain of domains) writer.writeMessage(8, writeOpset, { domain, version: 1 });
  return writer.finish();
}

/** `com.microsoft::MatMulNBits` → domain and type. */
function operator(op: string): { domain: string; type: string } {
  const [type = "", domain = ""] = op.split("::").reverse();
  return { domain, type };
}

function writeOpset({ domain, version }: { domain: string; version: number }, writer: PbfWriter): void {
  writer.writeStringField(1, domain);
  writer.writeVarintField(2, version);
}

function writeGraph(graph: Graph, writer: PbfWriter): void {
  for (const node of graph.nodes) writer.writeMessage(1, writeNode, node);
  writer.writeStringField(2, graph.name);
  for (const initializer of graph.initializers) writer.writeMessage(5, writeTensor, initializer);
  for (const port of graph.inputs) writer.writeMessage(11, writePort, port);
  for (const port of graph.outputs) writer.writeMessage(12, writePort, port);
}

function writeNode({ op, inputs, outputs, attributes }: Node, writer: PbfWriter): void {
  const { domain, type } = operator(op);
  for (const { name } of inputs) writer.writeStringField(1, name);
  for (const { name } of outputs) writer.writeStringField(2, name);
  // Errors of a runtime name the node; its first output is a name that nobody else has.
  writer.writeStringField(3, outputs[0]?.name ?? "");
  writer.writeStringField(4, type);
  for (const [name, value] of Object.entries(attributes)) writer.writeMessage(5, writeAttribute, { name, value });
  if (domain) writer.writeStringField(7, domain);
}

function writeAttribute({ name, value }: { name: string; value: Attribute }, writer: PbfWriter): void {
  writer.writeStringField(1, name);
  const type = (of: keyof typeof ATTRIBUTE_TYPES) => writer.writeVarintField(20, ATTRIBUTE_TYPES[of]);
  if (typeof value === "number") {
    writer.writeVarintField(3, value);
    type("int");
  } else if (typeof value === "string") {
    writer.writeBytesField(4, new TextEncoder().encode(value));
    type("string");
  } else if ("float" in value) {
    writer.writeFloatField(2, value.float);
    type("float");
  } else if ("type" in value) {
    writer.writeVarintField(3, DATA_TYPES[value.type]);
    type("int");
  } else {
    for (const each of value) writer.writeVarintField(8, each);
    type("ints");
  }
}

function writeTensor({ name, type, shape, data }: Initializer, writer: PbfWriter): void {
  for (const size of shape) writer.writeVarintField(1, size);
  writer.writeVarintField(2, DATA_TYPES[type]);
  writer.writeStringField(8, name);
  if (data instanceof Uint8Array) {
    writer.writeBytesField(9, data);
    return;
  }
  const entries = { location: data.location, offset: String(data.offset), length: String(data.bytes) };
  for (const entry of Object.entries(entries)) writer.writeMessage(13, writeEntry, entry);
  writer.writeVarintField(14, EXTERNAL);
}

function writeEntry([key, value]: [string, string], writer: PbfWriter): void {
  writer.writeStringField(1, key);
  writer.writeStringField(2, value);
}

function writePort({ name, type, shape }: Port, writer: PbfWriter): void {
  writer.writeStringField(1, name);
  writer.writeMessage(2, writeType, { type, shape });
}

/** TypeProto with a TypeProto.Tensor. */
function writeType(port: Omit<Port, "name">, writer: PbfWriter): void {
  writer.writeMessage(
    1,
    ({ type, shape }, tensor) => {
      tensor.writeVarintField(1, DATA_TYPES[type]);
      tensor.writeMessage(
        2,
        (sizes, body) => {
          for (const size of sizes) body.writeMessage(1, writeDimension, size);
        },
        shape,
      );
    },
    port,
  );
}

function writeDimension(size: number | string, writer: PbfWriter): void {
  if (typeof size === "number") writer.writeVarintField(1, size);
  else writer.writeStringField(2, size);
}
