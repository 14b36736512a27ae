/** The commands of `edge-t5`: what each is for, how it is called, and where it lives. Loaded only when called. */
import type { CommandDef } from "citty";

export interface CommandEntry {
  summary: string;
  examples: readonly string[];
  load: () => Promise<CommandDef>;
}

/** Commands of one subject: `edge-t5 tenant create`. */
export interface CommandGroup {
  summary: string;
  examples: readonly string[];
  commands: Commands;
}

export type Commands = Readonly<Record<string, CommandEntry | CommandGroup>>;

/** Each command declares its own arguments' types; here they are all just commands. */
const load = (module: () => Promise<{ default: unknown }>) => async () => (await module()).default as CommandDef;

/** One of the commands that a module exports by their names. */
const loadFrom =
  <Name extends string>(module: () => Promise<Record<Name, unknown>>, name: Name) =>
  async () =>
    (await module())[name] as CommandDef;

export const COMMANDS: Commands = {
  split: {
    summary: "Quantize a Hugging Face T5 checkpoint and split it into a package of shards",
    examples: [
      "edge-t5 split ./t5-small --out ./packages/t5-small",
      "edge-t5 split google/flan-t5-small --out ./packages/flan-t5-small",
      "edge-t5 split ./t5-small --out ./packages/t5-small-f32 --bits 32",
      "edge-t5 split ./my-t5 --out ./packages/my-t5 --name support-replies --json",
      "edge-t5 split ./my-t5 --out ./packages/my-t5-tiny --bits 4 --trim-vocab corpus.tsv",
      "edge-t5 split ./t5-base --out ./packages/t5-base --shard-mb 60",
    ],
    load: load(() => import("./split.ts")),
  },
  inspect: {
    summary: "Show a package's shards, blobs and tensors, or the memory that it will take",
    examples: [
      "edge-t5 inspect ./packages/t5-small",
      "edge-t5 inspect ./packages/t5-small --verify --json",
      "edge-t5 inspect ./packages/t5-small --memory --streams 16 --prompt-tokens 128 --new-tokens 64 --one-worker",
    ],
    load: load(() => import("./inspect.ts")),
  },
  export: {
    summary: "Write a package's model in the layout of another library: transformers.js",
    examples: [
      "edge-t5 export ./packages/my-t5 --to transformers.js --out ./models/my-t5",
      "edge-t5 export ./packages/my-t5 --to transformers.js --out ./models/my-t5 --activations matrix --json",
    ],
    load: load(() => import("./export.ts")),
  },
  generate: {
    summary: "Answer a prompt in the terminal, without a server",
    examples: [
      'edge-t5 generate "translate English to German: The house is old."',
      'edge-t5 generate "summarize: ..." --beams 4 --json',
      "edge-t5 generate - --temperature 0.8 --seed 7 < prompt.txt",
      'edge-t5 generate "classify package: a library for sockets" --labels libs,net,games',
      'edge-t5 generate "shout: Call home!" --adapter ./adapters/shout',
      "edge-t5 generate --task summarize report.pdf --words 100",
      "edge-t5 generate --task translate-de letter.docx > brief.txt",
      "edge-t5 generate --task translate-fr report.pdf --explain --json",
      'edge-t5 generate --task acme/facts towns.xlsx --field "question=Which town is largest?"',
      'edge-t5 generate --task facts.json towns.xlsx --field "question=Which is largest?" --select \'{"table":"Towns","rows":{"from":1,"to":9}}\'',
      'edge-t5 generate --task anywhere.json --field language=French --field "text=I am hungry."',
    ],
    load: load(() => import("./generate.ts")),
  },
  start: {
    summary: "Serve a package on this machine: the gateway and the Workers that hold the model",
    examples: [
      "edge-t5 start",
      "PORT=9000 edge-t5 start",
      "edge-t5 start --model ./packages/t5-base",
      "edge-t5 start --one-worker",
      "edge-t5 start --no-demo --no-origin --json",
    ],
    load: load(() => import("./start.ts")),
  },
  origin: {
    summary: "Do a gateway's jobs on this machine: batches and fine-tuning",
    examples: [
      "edge-t5 origin",
      "ORIGIN_SECRET=… edge-t5 origin --gateway https://edge-t5.example.workers.dev",
      "edge-t5 origin --gateway http://127.0.0.1:9000 --port 0 --json",
    ],
    load: load(() => import("./origin.ts")),
  },
  workers: {
    summary: "Write the Workers' configurations that a package needs: a chain where it is cut into shards",
    examples: [
      "edge-t5 workers ./packages/t5-base --out ./deploy",
      "edge-t5 workers ./packages/t5-tiny --out ./deploy --one-worker --json",
    ],
    load: load(() => import("./workers.ts")),
  },
  file: {
    summary: "Upload, list, fetch and delete the files of a tenant's jobs",
    examples: ["edge-t5 file put rows.jsonl --purpose batch"],
    commands: {
      put: {
        summary: "Upload a file for jobs: JSON lines",
        examples: [
          "edge-t5 file put rows.jsonl --purpose batch",
          "edge-t5 file put pairs.jsonl --purpose fine-tune --json",
        ],
        load: loadFrom(() => import("./file.ts"), "put"),
      },
      list: {
        summary: "List the files that were uploaded, and those that jobs left",
        examples: ["edge-t5 file list", "edge-t5 file list --json"],
        load: loadFrom(() => import("./file.ts"), "list"),
      },
      get: {
        summary: "Print a file, or write it",
        examples: ["edge-t5 file get file-0123456789abcdef01234567 --out answers.jsonl"],
        load: loadFrom(() => import("./file.ts"), "get"),
      },
      delete: {
        summary: "Delete a file; one that a job reads stays until the job is done",
        examples: ["edge-t5 file delete file-0123456789abcdef01234567"],
        load: loadFrom(() => import("./file.ts"), "remove"),
      },
    },
  },
  batch: {
    summary: "Have many rows answered by a gateway's origin",
    examples: ["edge-t5 batch run rows.jsonl --out answers.jsonl"],
    commands: {
      run: {
        summary: "Have a file's rows answered, and wait for it",
        examples: [
          "edge-t5 batch run rows.jsonl --out answers.jsonl --errors failed.jsonl",
          "edge-t5 batch run rows.jsonl --priority high --no-wait --json",
        ],
        load: loadFrom(() => import("./batch.ts"), "run"),
      },
      list: {
        summary: "List batches, the newest first",
        examples: ["edge-t5 batch list", "edge-t5 batch list --json"],
        load: loadFrom(() => import("./batch.ts"), "list"),
      },
      show: {
        summary: "Show how far a batch is",
        examples: ["edge-t5 batch show batch_0123456789abcdefghij --json"],
        load: loadFrom(() => import("./batch.ts"), "show"),
      },
      cancel: {
        summary: "Stop a batch: what was answered until then stays",
        examples: ["edge-t5 batch cancel batch_0123456789abcdefghij"],
        load: loadFrom(() => import("./batch.ts"), "cancel"),
      },
    },
  },
  job: {
    summary: "Train adapters by a gateway's origin",
    examples: ["edge-t5 job tune pairs.jsonl --model default --suffix mine"],
    commands: {
      tune: {
        summary: "Train an adapter on rows of inputs and targets, and wait for it",
        examples: [
          "edge-t5 job tune pairs.jsonl --model default --suffix mine",
          "edge-t5 job tune pairs.jsonl --validation valid.jsonl --epochs 5 --rank 16 --no-wait --json",
        ],
        load: loadFrom(() => import("./job.ts"), "tune"),
      },
      list: {
        summary: "List fine-tuning jobs, the newest first",
        examples: ["edge-t5 job list", "edge-t5 job list --json"],
        load: loadFrom(() => import("./job.ts"), "list"),
      },
      show: {
        summary: "Show how far a job is, and what happened",
        examples: ["edge-t5 job show ftjob-0123456789abcdefghij"],
        load: loadFrom(() => import("./job.ts"), "show"),
      },
      cancel: {
        summary: "Stop a job",
        examples: ["edge-t5 job cancel ftjob-0123456789abcdefghij"],
        load: loadFrom(() => import("./job.ts"), "cancel"),
      },
    },
  },
  tenant: {
    summary: "Make, list and change the tenants of a gateway",
    examples: ["edge-t5 tenant create acme --models default --hard-budget 50"],
    commands: {
      create: {
        summary: "Make a tenant",
        examples: [
          "edge-t5 tenant create acme",
          'edge-t5 tenant create acme --name "Acme Inc." --models default,support --concurrency 8',
          "edge-t5 tenant create acme --soft-budget 40 --hard-budget 50 --requests-per-minute 600 --json",
        ],
        load: loadFrom(() => import("./tenant.ts"), "create"),
      },
      list: {
        summary: "List the tenants",
        examples: ["edge-t5 tenant list", "edge-t5 tenant list --json"],
        load: loadFrom(() => import("./tenant.ts"), "list"),
      },
      show: {
        summary: "Show a tenant's limits",
        examples: ["edge-t5 tenant show acme", "edge-t5 tenant show acme --json"],
        load: loadFrom(() => import("./tenant.ts"), "show"),
      },
      update: {
        summary: "Change a tenant; what is not named stays",
        examples: [
          "edge-t5 tenant update acme --hard-budget 100",
          "edge-t5 tenant update acme --concurrency none --models all --json",
        ],
        load: loadFrom(() => import("./tenant.ts"), "update"),
      },
      disable: {
        summary: "Refuse all of a tenant's keys, within half a minute",
        examples: ["edge-t5 tenant disable acme"],
        load: loadFrom(() => import("./tenant.ts"), "disable"),
      },
      enable: {
        summary: "Take a disabled tenant's keys again",
        examples: ["edge-t5 tenant enable acme"],
        load: loadFrom(() => import("./tenant.ts"), "enable"),
      },
    },
  },
  key: {
    summary: "Make, list, rotate and revoke a tenant's API keys",
    examples: ["edge-t5 key create acme --name website"],
    commands: {
      create: {
        summary: "Make an API key: it is printed once",
        examples: [
          "edge-t5 key create acme",
          "KEY=$(edge-t5 key create acme --name website --origins https://app.acme.example)",
          "edge-t5 key create acme --scopes tasks:run,tasks:write --expires 90d --requests-per-minute 60 --json",
        ],
        load: loadFrom(() => import("./key.ts"), "create"),
      },
      list: {
        summary: "List a tenant's keys by their visible parts",
        examples: ["edge-t5 key list acme", "edge-t5 key list acme --json"],
        load: loadFrom(() => import("./key.ts"), "list"),
      },
      rotate: {
        summary: "Make a key in a key's place; both work for a while",
        examples: [
          "edge-t5 key rotate acme et5_0123456789",
          "edge-t5 key rotate acme et5_0123456789 --overlap-seconds 3600 --json",
        ],
        load: loadFrom(() => import("./key.ts"), "rotate"),
      },
      revoke: {
        summary: "Refuse a key, within half a minute",
        examples: ["edge-t5 key revoke acme et5_0123456789"],
        load: loadFrom(() => import("./key.ts"), "revoke"),
      },
    },
  },
  task: {
    summary: "Define, list and delete a tenant's tasks",
    examples: ["edge-t5 task put acme summarize --model default --template 'summarize: {input}'"],
    commands: {
      put: {
        summary: "Define a task, or change it: a new version, where it differs",
        examples: [
          "edge-t5 task put acme summarize --model default --template 'summarize: {input}'",
          "edge-t5 task put acme triage --model default --template 'classify: {input}' --labels bug,question,praise",
          "edge-t5 task put acme qa --model default --template 'question: {question} context: {context}' --generation '{\"num_beams\":4}'",
          "edge-t5 task put acme summarize --file summarize.json --if-match 3 --json",
        ],
        load: loadFrom(() => import("./task.ts"), "put"),
      },
      list: {
        summary: "List a tenant's tasks",
        examples: ["edge-t5 task list acme", "edge-t5 task list acme --json"],
        load: loadFrom(() => import("./task.ts"), "list"),
      },
      show: {
        summary: "Show a task's definition, as `task put --file` takes it",
        examples: ["edge-t5 task show acme summarize", "edge-t5 task show acme summarize --version 2 --json"],
        load: loadFrom(() => import("./task.ts"), "show"),
      },
      delete: {
        summary: "Delete a task; its versions stay readable",
        examples: ["edge-t5 task delete acme summarize", "edge-t5 task delete acme summarize --if-match 3"],
        load: loadFrom(() => import("./task.ts"), "remove"),
      },
    },
  },
  adapter: {
    summary: "Upload, list and delete a tenant's LoRA adapters",
    examples: ["edge-t5 adapter put acme sentiment ./sentiment --model default"],
    commands: {
      put: {
        summary: "Upload an adapter as PEFT saved it, in place of the one of that name",
        examples: [
          "edge-t5 adapter put acme sentiment ./sentiment --model default",
          "edge-t5 adapter put acme sentiment ./sentiment --model default --json",
        ],
        load: loadFrom(() => import("./adapter.ts"), "put"),
      },
      list: {
        summary: "List a tenant's adapters",
        examples: ["edge-t5 adapter list acme", "edge-t5 adapter list acme --json"],
        load: loadFrom(() => import("./adapter.ts"), "list"),
      },
      delete: {
        summary: "Delete an adapter; tasks that name it are refused until there is one again",
        examples: ["edge-t5 adapter delete acme sentiment"],
        load: loadFrom(() => import("./adapter.ts"), "remove"),
      },
    },
  },
  demo: {
    summary: "Show a running kit at work",
    examples: ["edge-t5 demo traffic"],
    commands: {
      traffic: {
        summary: "Send a week's mixed load through the running kit; show usage, the invoice, and that both are right",
        examples: [
          "edge-t5 demo traffic",
          "edge-t5 demo traffic --requests 2000 --days 7",
          "edge-t5 demo traffic --requests 100 --json",
        ],
        load: load(() => import("./demo-traffic.ts")),
      },
    },
  },
  deploy: {
    summary: "Make what is missing in a Cloudflare account, deploy the Workers, push the package",
    examples: [
      "edge-t5 deploy --dry-run",
      "edge-t5 deploy",
      "edge-t5 deploy ./packages/my-t5 --name my-t5 --requests 5e6 --json",
      "edge-t5 deploy ./packages/my-t5 --one-worker --url https://t5.example.org",
    ],
    load: load(() => import("./deploy.ts")),
  },
  push: {
    summary: "Upload a package as a version of a model, and have requests get it",
    examples: [
      "edge-t5 push ./packages/my-t5 --name support",
      "edge-t5 push ./packages/my-t5 --name support --url https://edge-t5.example.workers.dev --admin-token $TOKEN",
      "edge-t5 push ./packages/my-t5 --name support --no-publish --json",
    ],
    load: load(() => import("./push.ts")),
  },
  rollback: {
    summary: "Have requests get the version of a model that was current before",
    examples: ["edge-t5 rollback support", "edge-t5 rollback support --to 0123456789abcdef --json"],
    load: load(() => import("./rollback.ts")),
  },
  models: {
    summary: "List a gateway's models and their versions, or delete a version",
    examples: ["edge-t5 models", "edge-t5 models --json", "edge-t5 models --delete support@0123456789abcdef"],
    load: load(() => import("./models.ts")),
  },
  price: {
    summary: "Set and list prices: versions that hold from a time on",
    examples: ["edge-t5 price set --input 0.0015 --output 0.003"],
    commands: {
      set: {
        summary: "Set a price: a new version, from now or a later time on",
        examples: [
          "edge-t5 price set --input 0.0015 --output 0.003",
          "edge-t5 price set --model default --request 0.0001 --adapter-day 0.05",
          "edge-t5 price set --tenant acme --task summarize --input 0.001 --output 0.002 --from 2027-01-01 --json",
        ],
        load: loadFrom(() => import("./price.ts"), "set"),
      },
      list: {
        summary: "List the prices that hold, and with --all their other versions",
        examples: ["edge-t5 price list", "edge-t5 price list --all --tenant acme --json"],
        load: loadFrom(() => import("./price.ts"), "list"),
      },
      withdraw: {
        summary: "Take back a version that does not hold yet",
        examples: ["edge-t5 price withdraw 12"],
        load: loadFrom(() => import("./price.ts"), "withdraw"),
      },
    },
  },
  usage: {
    summary: "Show what tenants used, and their invoices",
    examples: [
      "edge-t5 usage",
      "edge-t5 usage --tenant acme --by day,task --from 2026-11-01 --to 2026-11-30",
      "edge-t5 usage invoice --tenant acme --month 2026-11",
      "edge-t5 usage invoice --tenant acme --month 2026-11 --json",
      "edge-t5 usage events --tenant acme --csv > events.csv",
    ],
    load: load(() => import("./usage.ts")),
  },
  tokenizer: {
    summary: "Train a vocabulary on texts of your own",
    examples: ["edge-t5 tokenizer train corpus.txt --size 8064 --out ./my-tokenizer"],
    commands: {
      train: {
        summary: "Train a Unigram vocabulary and write it as tokenizer.json",
        examples: [
          "edge-t5 tokenizer train corpus.txt --size 8064 --out ./my-tokenizer",
          "edge-t5 tokenizer train pairs.tsv.gz docs.jsonl.gz --fields title,body --size 12032 --out ./my-tokenizer --json",
          "edge-t5 tokenizer train japanese.txt --size 32128 --coverage 0.9995 --out ./my-tokenizer",
        ],
        load: loadFrom(() => import("./tokenizer.ts"), "train"),
      },
    },
  },
  train: {
    summary: "Pretrain a model on texts, from random weights or a checkpoint",
    examples: [
      "edge-t5 train corpus.txt --config config.json --tokenizer ./my-tokenizer --run ./runs/pretrain",
      "edge-t5 train corpus.txt docs.jsonl.gz --fields body --base ./my-t5 --denoiser ul2 --steps 5000 --run ./runs/more",
      "edge-t5 train --resume ./runs/pretrain",
    ],
    load: load(() => import("./train.ts")),
  },
  fit: {
    summary: "Fine-tune a model on rows of inputs and targets, or an adapter beside it",
    examples: [
      "edge-t5 fit pairs.tsv --run ./runs/pairs",
      "edge-t5 fit train.csv --valid valid.csv --base ./my-t5 --template 'summarize: {input}' --metric rouge --run ./runs/sum",
      "edge-t5 fit reviews.jsonl --base ./my-t5 --lora --labels positive,negative --metric accuracy --run ./runs/reviews",
      "edge-t5 fit --mixture tasks.json --data ./data --base ./my-t5 --steps 5000 --run ./runs/mixture",
      "edge-t5 fit --resume ./runs/pairs",
    ],
    load: load(() => import("./fit.ts")),
  },
  eval: {
    summary: "Measure a package's answers against references",
    examples: [
      "edge-t5 eval ./packages/my-t5 --data test.tsv --prefix 'translate English to German: ' --metric bleu,chrf",
      "edge-t5 eval ./packages/my-t5 --data test.jsonl --metric accuracy --labels positive,negative --json",
      "edge-t5 eval ./packages/my-t5 --data test.jsonl --metric accuracy --labels positive,negative --adapter ./sentiment",
    ],
    load: load(() => import("./eval.ts")),
  },
  golden: {
    summary: "Compare with Hugging Face's outputs on every model folder in a directory",
    examples: [
      "edge-t5 golden ./test/golden",
      "edge-t5 golden ./test/golden --bits 8 --json",
      "edge-t5 golden ./adapters --checkpoint ./my-t5 --bits 8",
    ],
    load: load(() => import("./golden.ts")),
  },
};
