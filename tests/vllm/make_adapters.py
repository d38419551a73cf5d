"""Makes LoRA adapters with random weights; run by the Python that vLLM runs on, which has PEFT.

Random weights of this size make a model talk nonsense, each seed another, which is all that is asked of them.
"""

import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM


def make(folder: str, target: str, seed: int, rank: int) -> None:
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    config = LoraConfig(
        r=rank,
        lora_alpha=8 * rank,
        target_modules=["q_proj", "v_proj"],
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    get_peft_model(model, config).save_pretrained(target)


if __name__ == "__main__":
    folder, target = sys.argv[1:]
    for name, seed, rank in (("first", 1, 8), ("second", 2, 8), ("large", 3, 32)):
        make(folder, f"{target}/{name}", seed, rank)
