"""Write a task of lmms-eval over the sample videos into a folder for its `--include_path`."""

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

SAMPLES = Path(__file__).parents[2] / "sample_videos"
UTILS = """\
def visual(doc, lmms_eval_specific_kwargs=None):
    return [doc["video"]]


def text(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]


def score(doc, results):
    return {"right": float(results[0].strip().lower() == doc["answer"])}
"""
TASK = """\
task: dycoke_samples
dataset_path: json
dataset_kwargs: {{data_files: {{test: {questions}}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visual
doc_to_text: !function utils.text
doc_to_target: answer
process_results: !function utils.score
generation_kwargs: {{max_new_tokens: 16, temperature: 0, until: ["."]}}
metric_list: [{{metric: right, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 0}}
"""


def write_task(folder: Path, videos: Sequence[str], more: Sequence[str] = ()) -> list[dict[str, str]]:
    """Write task `dycoke_samples`: the open questions with one-word answers about some of the sample videos.

    more: other videos; each gets one question whose expected answer never matches. Returns the documents of the task.
    """
    documents = []
    for item in yaml.safe_load((SAMPLES / "questions.yaml").read_text()):
        answer = item["answer"][0] if isinstance(item["answer"], list) else item["answer"]
        if item["video"] in videos and "options" not in item and item["type"] in ("colour", "shape"):
            video = str(SAMPLES / item["video"])
            documents.append({"video": video, "question": item["question"], "answer": str(answer).lower()})
    documents += [{"video": video, "question": "what moves?", "answer": "nobody knows"} for video in more]
    questions = folder / "questions.jsonl"
    questions.write_text("".join(json.dumps(document) + "\n" for document in documents))
    (folder / "utils.py").write_text(UTILS)
    (folder / "dycoke_samples.yaml").write_text(TASK.format(questions=questions))
    return documents
