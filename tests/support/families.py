"""Random models of many families, made from their configs.

Their heads scale, cap, tie, add a bias or are padded. Positions come by rotation, by table, by ALiBi and by state; some
have windows of attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SHAPE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
PLAIN = {**SHAPE, "max_position_embeddings": 2048}
GROUPED = {**PLAIN, "num_key_value_heads": 1, "head_dim": 8}
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 2048}
EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1}
STATE = {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": PLAIN,
    "llama-tied": {**PLAIN, "model_type": "llama", "tie_word_embeddings": True},
    "llama-padded": {**PLAIN, "model_type": "llama", "vocab_size": 320},
    "apertus": {**PLAIN, "num_key_value_heads": 1},
    "biogpt": PLAIN,
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
    "codegen": {**GPT, "n_head": 4, "rotary_dim": 4},
    "cohere": {**PLAIN, "logit_scale": 0.25},
    "cohere2": {**PLAIN, "logit_scale": 0.0625, "sliding_window": 64},
    "ctrl": {**GPT, "dff": 32},
    "deepseek_v3": {
        **PLAIN, "num_key_value_heads": 2, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 4,
        "qk_rope_head_dim": 4, "v_head_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 1, "n_group": 1,
        "topk_group": 1, "moe_intermediate_size": 16, "first_k_dense_replace": 1,
    },
    "diffllama": {**PLAIN, "num_key_value_heads": 2},
    "ernie4_5": GROUPED,
    "exaone4": {**PLAIN, "num_key_value_heads": 1},
    "falcon": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
    "falcon-alibi": {
        "model_type": "falcon", "alibi": True, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    },
    "falcon_h1": {
        **GROUPED, "mamba_d_ssm": 16, "mamba_n_heads": 2, "mamba_d_head": 8, "mamba_d_state": 4, "mamba_n_groups": 1,
        "lm_head_multiplier": 0.5,
    },
    "falcon_mamba": STATE,
    "gemma": GROUPED,
    "gemma2": {**GROUPED, "sliding_window": 64, "final_logit_softcapping": 3.0},
    "gemma3_text": {
        **GROUPED, "sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"],
        "final_logit_softcapping": 2.0,
    },
    "gemma3n_text": {
        **GROUPED, "intermediate_size": [32, 32], "sliding_window": 64,
        "layer_types": ["sliding_attention", "full_attention"], "final_logit_softcapping": 3.0, "laurel_rank": 4,
        "vocab_size_per_layer_input": 258, "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0,
        "activation_sparsity_pattern": [0.0, 0.0],
    },
    "glm4": GROUPED,
    "gpt2": GPT,
    "gpt_oss": {**GROUPED, **EXPERTS, "sliding_window": 64},
    "gpt_bigcode": GPT,
    "gpt_neo": {
        "hidden_size": 16, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]],
        "window_size": 64, "max_position_embeddings": 2048,
    },
    "gpt_neox": PLAIN,
    "gptj": {**GPT, "rotary_dim": 4},
    "granite": {**PLAIN, "logits_scaling": 8.0, "embedding_multiplier": 12.0, "residual_multiplier": 0.22},
    "granitemoe": {
        **PLAIN, "num_key_value_heads": 1, "num_local_experts": 2, "num_experts_per_tok": 1, "logits_scaling": 6.0,
    },
    "granitemoehybrid": {
        **PLAIN, **EXPERTS, "num_key_value_heads": 1, "shared_intermediate_size": 16,
        "layer_types": ["mamba", "attention"], "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 4,
        "mamba_n_groups": 1, "logits_scaling": 6.0,
    },
    "hyperclovax": {**PLAIN, "logits_scaling": 4.0},
    "jamba": {
        **PLAIN, "num_key_value_heads": 1, "num_experts": 2, "num_experts_per_tok": 1, "use_mamba_kernels": False,
        "mamba_d_state": 4, "mamba_dt_rank": 4, "attn_layer_period": 2, "attn_layer_offset": 1,
        "expert_layer_period": 2,
    },
    "jetmoe": {
        **EXPERTS, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_key_value_heads": 2,
        "kv_channels": 4, "max_position_embeddings": 2048,
    },
    "lfm2": {**PLAIN, "num_key_value_heads": 1, "layer_types": ["conv", "full_attention"]},
    "llama4_text": {**GROUPED, "intermediate_size_mlp": 32, "num_local_experts": 2, "attention_chunk_size": 64},
    "mamba": STATE,
    "mamba2": {**STATE, "num_heads": 4, "head_dim": 8, "n_groups": 1},
    "minicpm3": {
        **PLAIN, "hidden_size": 32, "num_key_value_heads": 2, "dim_model_base": 8, "q_lora_rank": 8, "kv_lora_rank": 8,
        "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "v_head_dim": 8,
    },
    "mistral": {**PLAIN, "num_key_value_heads": 1, "sliding_window": 64},
    "mixtral": {**PLAIN, **EXPERTS, "num_key_value_heads": 1},
    "modernbert-decoder": {**PLAIN, "bos_token_id": 256, "cls_token_id": 256, "sep_token_id": 256},
    "mpt": {"d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": 2048},
    "nanochat": PLAIN,
    "nemotron": {**PLAIN, "num_key_value_heads": 1},
    "nemotron_h": {
        **GROUPED, "mamba_num_heads": 4, "mamba_head_dim": 8, "ssm_state_size": 4, "n_groups": 1,
        "layers_block_type": ["mamba", "attention"],
    },
    "olmo2": PLAIN,
    "openai-gpt": GPT,
    "opt": {
        "hidden_size": 16, "word_embed_proj_dim": 8, "ffn_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 2048,
    },
    "phi": PLAIN,
    "phi3": PLAIN,
    "qwen2": {**PLAIN, "num_key_value_heads": 2, "tie_word_embeddings": True, "vocab_size": 272},
    "qwen3": {**GROUPED, "tie_word_embeddings": True},
    "qwen3_next": {
        **GROUPED, "linear_num_value_heads": 2, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
        "linear_value_head_dim": 8, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16, "layer_types": ["linear_attention", "full_attention"],
    },
    "recurrent_gemma": {
        **SHAPE, "num_hidden_layers": 3, "lru_width": 16, "attention_window_size": 64, "logits_soft_cap": 3.0,
    },
    "rwkv": {"hidden_size": 16, "num_hidden_layers": 2, "attention_hidden_size": 16, "context_length": 2048},
    "smollm3": {**PLAIN, "num_key_value_heads": 1},
    "stablelm": {**PLAIN, "num_key_value_heads": 2, "partial_rotary_factor": 0.5},
    "starcoder2": {**PLAIN, "num_key_value_heads": 1},
    "vaultgemma": {**GROUPED, "sliding_window": 64},
    "xglm": {"d_model": 16, "ffn_dim": 32, "num_layers": 2, "attention_heads": 2, "max_position_embeddings": 2048},
    "zamba2": {
        **SHAPE, "num_key_value_heads": 2, "max_position_embeddings": 2048, "mamba_d_state": 4, "n_mamba_heads": 4,
        "mamba_ngroups": 1, "mamba_headdim": 8, "hybrid_layer_ids": [1], "layers_block_type": ["mamba", "hybrid"],
        "num_mem_blocks": 1, "adapter_rank": 4,
    },
}  # fmt: skip


def family_model(name: str, *, tokens: int = 258, end: int = 256, seed: int = 0, **changes: Any) -> Any:
    """A model of a family, with weights so wide that scales, caps and positions show."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    values = {"vocab_size": tokens, "bos_token_id": None, "eos_token_id": end, "pad_token_id": end}
    values |= {**FAMILIES[name], **changes}
    settings = CONFIG_MAPPING[values.pop("model_type", name)](**values)
    for dropout in [option for option in settings.to_dict() if "drop" in option]:
        if isinstance(getattr(settings, dropout), float):
            setattr(settings, dropout, 0.0)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(settings)
    head = model.get_output_embeddings()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, 0.25)
        if getattr(head, "bias", None) is not None:
            head.bias.normal_()
    return model.eval()


def family_student(folder: Path, name: str, **changes: Any) -> Path:
    """A directory with such a model and a tokenizer of single bytes."""
    from tests.support.students import byte_tokenizer

    tokenizer = byte_tokenizer()
    family_model(name, tokens=len(tokenizer), end=tokenizer.eos_token_id, **changes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
