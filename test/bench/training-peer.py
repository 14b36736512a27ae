"""One training step of a T5 by PyTorch and transformers on the processor: `training-peer.py SUBJECT.json`, one JSON line out.

The subject names the configuration, the batch (rows, input and target tokens), threads and rounds; see training.ts.
"""
import json
import sys
import time

import torch
import transformers
from transformers import T5Config, T5ForConditionalGeneration

with open(sys.argv[1]) as file:
    subject = json.load(file)
torch.set_num_threads(subject["threads"])
torch.manual_seed(1)
model = T5ForConditionalGeneration(T5Config(decoder_start_token_id=0, **subject["config"]))
model.train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, **subject.get("adamw", {}))
rows, inputs, targets = subject["rows"], subject["inputTokens"], subject["targetTokens"]
vocabulary = subject["config"]["vocab_size"]
batch = {
    "input_ids": torch.randint(2, vocabulary, (rows, inputs)),
    "attention_mask": torch.ones(rows, inputs, dtype=torch.long),
    "labels": torch.randint(2, vocabulary, (rows, targets)),
}
seconds = []
for _ in range(subject["rounds"] + 2):
    started = time.perf_counter()
    loss = model(**batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    seconds.append(time.perf_counter() - started)
versions = {"torch": torch.__version__, "transformers": transformers.__version__}
print(json.dumps({"seconds": seconds[2:], "versions": versions}))
