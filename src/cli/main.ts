/** The command `edge-t5`: picks the command, answers --help and --version, and turns errors into messages. */
import { stripVTControlCharacters } from "node:util";
import { type CommandDef, renderUsage, runCommand } from "citty";
import packageJson from "../../package.json" with { type: "json" };
import { EdgeT5Error } from "../errors.ts";
import { checkArguments, suggestion } from "./arguments.ts";
import { COMMANDS, type CommandEntry, type CommandGroup, type Commands } from "./commands.ts";
import { withErrors } from "./output.ts";

const NAME = "edge-t5";

async function main(argv: readonly string[]): Promise<void> {
  const [name] = argv;
  if (name === "--version" || name === "-v") return console.log(packageJson.version);
  const title = `${packageJson.description} (v${packageJson.version})`;
  await runOneOf(NAME, title, COMMANDS, argv);
}

/** Runs the command that the line begins with, or tells of all. @param path what was typed before */
async function runOneOf(path: string, title: string, commands: Commands, argv: readonly string[]): Promise<void> {
  const [name, ...rawArgs] = argv;
  if (name === "--help" || name === "-h") return console.log(overview(path, title, commands));
  if (name === undefined) throw new EdgeT5Error("E_USAGE", `No command given. See ${path} --help.`);
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!entry) {
    const kind = name.startsWith("-") ? "option" : "command";
    throw new EdgeT5Error("E_USAGE", `Unknown ${kind} ${name}. ${suggestion(path, name, Object.keys(commands))}`);
  }
  const called = `${path} ${name}`;
  if (isGroup(entry)) return runOneOf(called, `${entry.summary}.`, entry.commands, rawArgs);
  const command = await entry.load();
  if (optionsIn(rawArgs).some((arg) => arg === "--help" || arg === "-h")) return printHelp(path, entry, command);
  const args = typeof command.args === "function" ? await command.args() : await command.args;
  checkArguments(called, args ?? {}, rawArgs);
  await runCommand(command, { rawArgs });
}

function isGroup(entry: CommandEntry | CommandGroup): entry is CommandGroup {
  return "commands" in entry;
}

/** Everything before `--`. */
function optionsIn(argv: readonly string[]): readonly string[] {
  const end = argv.indexOf("--");
  return end < 0 ? argv : argv.slice(0, end);
}

function overview(path: string, title: string, commands: Commands): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  const summaries = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  const examples = Object.values(commands).map((entry) => `  ${entry.examples[0]}`);
  return [
    title,
    `USAGE ${path} COMMAND [OPTIONS]`,
    ["COMMANDS", ...summaries].join("\n"),
    ["EXAMPLES", ...examples].join("\n"),
    `${path} COMMAND --help tells a command's options.`,
  ].join("\n\n");
}

async function printHelp(path: string, { examples }: CommandEntry, command: CommandDef): Promise<void> {
  const usage = await renderUsage(command, { meta: { name: path } });
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
