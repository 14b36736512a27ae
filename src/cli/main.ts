/** The command `edge-t5`: picks the command, answers --help and --version, and turns errors into messages. */
import { stripVTControlCharacters } from "node:util";
import { type CommandDef, renderUsage, runCommand } from "citty";
import packageJson from "../../package.json" with { type: "json" };
import { EdgeT5Error } from "../errors.ts";
import { checkArguments, suggestion } from "./arguments.ts";
import { COMMANDS, type CommandEntry } from "./commands.ts";
import { withErrors } from "./output.ts";

const NAME = "edge-t5";

async function main(argv: readonly string[]): Promise<void> {
  const [name, ...rawArgs] = argv;
  if (name === "--version" || name === "-v") return console.log(packageJson.version);
  if (name === "--help" || name === "-h") return console.log(overview());
  if (name === undefined) throw new EdgeT5Error("E_USAGE", `No command given. See ${NAME} --help.`);
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!entry) {
    const kind = name.startsWith("-") ? "option" : "command";
    throw new EdgeT5Error("E_USAGE", `Unknown ${kind} ${name}. ${suggestion(NAME, name, Object.keys(COMMANDS))}`);
  }
  const command = await entry.load();
  if (optionsIn(rawArgs).some((arg) => arg === "--help" || arg === "-h")) return printHelp(entry, command);
  const args = typeof command.args === "function" ? await command.args() : await command.args;
  checkArguments(`${NAME} ${name}`, args ?? {}, rawArgs);
  await runCommand(command, { rawArgs });
}

/** Everything before `--`. */
function optionsIn(argv: readonly string[]): readonly string[] {
  const end = argv.indexOf("--");
  return end < 0 ? argv : argv.slice(0, end);
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  const commands = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  const examples = Object.values(COMMANDS).map((entry) => `  ${entry.examples[0]}`);
  return [
    `${packageJson.description} (v${packageJson.version})`,
    `USAGE ${NAME} COMMAND [OPTIONS]`,
    ["COMMANDS", ...commands].join("\n"),
    ["EXAMPLES", ...examples].join("\n"),
    `${NAME} COMMAND --help tells a command's options.`,
  ].join("\n\n");
}

async function printHelp({ examples }: CommandEntry, command: CommandDef): Promise<void> {
  const usage = await renderUsage(command, { meta: { name: NAME } });
  const help = [usage.trimEnd(), "", "EXAMPLES", "", ...examples.map((example) => `  ${example}`)].join("\n");
  // citty pads every cell.
  console.log(process.stdout.isTTY ? help : stripVTControlCharacters(help).replace(/ +$/gm, ""));
}

// A reader that has seen enough (`edge-t5 inspect DIR | head`) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

const argv = process.argv.slice(2);
await withErrors(optionsIn(argv).includes("--json"), () => main(argv));
