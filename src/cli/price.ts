/** `edge-t5 price set|list|withdraw` */
import { type ArgsDef, defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { timeOf } from "./arguments.ts";
import { type ControlPlane, controlPlane, controlPlaneOptions, GatewayRefusal, listAll } from "./control-plane.ts";
import { given } from "./limit-options.ts";
import { formatTable, printJson } from "./output.ts";

interface Price {
  id: string;
  tenant: string | null;
  task: string | null;
  model: string | null;
  valid_from: string;
  input_per_1k: string;
  output_per_1k: string;
  training_per_1k: string;
  per_request: string;
  adapter_day: string;
}

interface ListedPrice extends Price {
  valid_until: string | null;
  status: "past" | "current" | "scheduled";
}

const common = {
  ...controlPlaneOptions,
  json: { type: "boolean", description: "Print one JSON object instead of text" },
} as const satisfies ArgsDef;

const dollars = (description: string) => ({ type: "string", valueHint: "dollars", description }) as const;

export const set = defineCommand({
  meta: {
    name: "set",
    description:
      "Set a price: a new version, from now or a later time on. Amounts that are not named stay as they are; in a first version of a price they are 0",
  },
  args: {
    tenant: { type: "string", description: "Whose price it is; default: everybody's" },
    task: { type: "string", description: "For one task of that tenant's" },
    model: { type: "string", description: "For one model" },
    input: dollars("Per 1,000 input tokens: 0.0015"),
    output: dollars("Per 1,000 output tokens"),
    training: dollars("Per 1,000 tokens that a fine-tuning trains on"),
    request: dollars("A request"),
    "adapter-day": dollars("An adapter and day"),
    from: { type: "string", valueHint: "time", description: "When it begins: 2027-01-01 (UTC); default: now" },
    ...common,
  },
  async run({ args }) {
    const gateway = await controlPlane(args);
    const amounts = given({
      input_per_1k: args.input,
      output_per_1k: args.output,
      training_per_1k: args.training,
      per_request: args.request,
      adapter_day: args["adapter-day"],
    });
    if (!amounts) {
      const hint = "Name --input, --output, --training, --request or --adapter-day; --request 0 makes it free.";
      throw new EdgeT5Error("E_USAGE", `No amount is given. ${hint}`);
    }
    const subject = given({ tenant: args.tenant, task: args.task, model: args.model });
    const validFrom =
      args.from === undefined ? undefined : timeOf("--from", args.from, "2027-01-01 or 2027-01-01T12:00:00Z");
    const body = { ...subject, ...amounts, ...given({ valid_from: validFrom }) };
    const price = (await gateway.request("POST", "/admin/prices", body)) as Price;
    if (args.json) return printJson(price);
    console.log(`Price ${price.id} holds for ${subjectOf(price)} from ${price.valid_from} on:`);
    console.log(formatTable(AMOUNTS, [amountsOf(price)]));
    await tellMissing(gateway, price);
  },
});

export const list = defineCommand({
  meta: { name: "list", description: "List the prices: those that hold, and with --all their other versions" },
  args: {
    tenant: { type: "string", description: "Only that tenant's own" },
    all: { type: "boolean", description: "Past and scheduled versions too" },
    ...common,
  },
  async run({ args }) {
    const prices = await listAll<ListedPrice>(await controlPlane(args), "/admin/prices");
    const data = prices.filter(
      ({ tenant, status }) =>
        (args.tenant === undefined || tenant === args.tenant) && (args.all === true || status === "current"),
    );
    if (args.json) return printJson({ data });
    if (data.length === 0) return console.log("There are no prices: nothing costs anything. See edge-t5 price set.");
    const header = ["PRICE", "FOR", ...AMOUNTS, "FROM", "STATE"];
    console.log(
      formatTable(
        header,
        data.map((price) => [price.id, subjectOf(price), ...amountsOf(price), price.valid_from, price.status]),
      ),
    );
  },
});

export const withdraw = defineCommand({
  meta: { name: "withdraw", description: "Take back a version that does not hold yet" },
  args: { price: { type: "positional", required: true, description: "Its number, as price list has it" }, ...common },
  async run({ args }) {
    const { request } = await controlPlane(args);
    await request("DELETE", `/admin/prices/${encodeURIComponent(args.price)}`);
    if (args.json) return printJson({ id: args.price, withdrawn: true });
    console.log(`Price ${args.price} is withdrawn.`);
  },
});

const AMOUNTS = ["INPUT, $/1k", "OUTPUT, $/1k", "TRAINING, $/1k", "REQUEST, $", "ADAPTER, $/day"];

function amountsOf({ input_per_1k, output_per_1k, training_per_1k, per_request, adapter_day }: Price): string[] {
  return [input_per_1k, output_per_1k, training_per_1k, per_request, adapter_day];
}

function subjectOf({ tenant, task, model }: Price): string {
  if (task !== null) return `${tenant}'s task ${task}`;
  if (model !== null) return tenant === null ? `model ${model}` : `${tenant}'s model ${model}`;
  return tenant === null ? "everything" : `all of ${tenant}`;
}

/** A task may have its price before it is there: a name that was mistyped is told, not refused. */
async function tellMissing({ request }: ControlPlane, { tenant, task }: Price): Promise<void> {
  if (tenant === null || task === null) return;
  try {
    await request("GET", `/admin/tenants/${encodeURIComponent(tenant)}/tasks/${encodeURIComponent(task)}`);
  } catch (error) {
    if (!(error instanceof GatewayRefusal && error.httpStatus === 404)) throw error;
    console.error(
      `Note: ${tenant} has no task ${task} yet; the price holds once it does. See edge-t5 task list ${tenant}.`,
    );
  }
}
