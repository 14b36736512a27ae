"""What Hugging Face transformers answers with a checkpoint of the default model, and with adapters for it.

    python references.py CHECKPOINT tasks ROWS_DIR      rewrites ROWS_DIR/TASK.jsonl: the inputs and people's answers stay;
                                                        prints the task's score, for test/quality
    python references.py CHECKPOINT adapter ADAPTER     rewrites ADAPTER/expected.jsonl likewise

Needs torch, transformers, peft, sacrebleu and rouge-score; float32, greedy, at most 64 new tokens. Nothing else in this repository needs Python.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, T5ForConditionalGeneration

NEW_TOKENS = 64
ROWS = 20


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows))


def greedy(model, tokenizer, rows):
    """Ids without the start, through the first eos."""
    answers = []
    for start in range(0, len(rows), ROWS):
        batch = tokenizer([row["input"] for row in rows[start : start + ROWS]], padding=True, return_tensors="pt")
        out = model.generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            max_new_tokens=NEW_TOKENS,
            num_beams=1,
            do_sample=False,
        )
        for ids in out[:, 1:].tolist():
            end = ids.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in ids else len(ids)
            answers.append(ids[:end])
    return answers


def labels_of(model, tokenizer, row):
    """Log-probability of each label, eos included, and their softmax."""
    prompt = tokenizer(row["input"], return_tensors="pt")
    logprobs = []
    for label in row["labels"]:
        labels = tokenizer(label, return_tensors="pt").input_ids
        logits = model(input_ids=prompt.input_ids, attention_mask=prompt.attention_mask, labels=labels).logits
        every = logits.log_softmax(-1).gather(-1, labels[..., None])
        logprobs.append(every.sum().item())
    return logprobs, torch.tensor(logprobs).softmax(-1).tolist()


def score_of(task, rows):
    """In percent: BLEU of translations, ROUGE-L of summaries, else how many are right."""
    answers, references = [row["greedy"] for row in rows], [row["reference"] for row in rows]
    if task.startswith("translate"):
        import sacrebleu

        return sacrebleu.corpus_bleu(answers, [references]).score
    if task == "summarize":
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rougeL"], use_stemmer=True)
        scores = [scorer.score(right, given)["rougeL"].fmeasure for right, given in zip(references, answers)]
        return 100 * sum(scores) / len(scores)
    return 100 * sum(right == given for right, given in zip(references, answers)) / len(rows)


def main():
    checkpoint, kind, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = T5ForConditionalGeneration.from_pretrained(checkpoint, torch_dtype=torch.float32).eval()
    if kind == "adapter":
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, folder).eval()
    for path in sorted(folder.glob("*.jsonl")):
        rows = read(path)
        with torch.inference_mode():
            for row, ids in zip(rows, greedy(model, tokenizer, rows)):
                row["input_ids"] = tokenizer(row["input"]).input_ids
                if "greedy_ids" in row:
                    row["greedy_ids"] = ids
                row["greedy"] = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
                if "labels" in row:
                    row["logprobs"], row["scores"] = labels_of(model, tokenizer, row)
        write(path, rows)
        print(path.name, len(rows), *([round(score_of(path.stem, rows), 3)] if kind == "tasks" else []))


main()
