"""What one tiny model is: see `spec`."""

WINDOW = 64
PAD = 0
IDS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=PAD)


def spec(config, seed, sharpness=1.5, **how):
    """A model: its configuration, the seed of its weights, how much wider than the rest those of queries and keys are drawn, and of `how`
    - `hub_config`: config.json is rewritten in the spelling of the checkpoints on the hub (see hub.py); a dict of keys to set besides,
    - `hub_weights`: the weights are stored as checkpoints on the hub have them (see hub.py); "newer": in the newer of two layouts,
    - `shard`: max_shard_size, `tokenizer`: the folder also holds a tokenizer.json,
    - `twin`: the folder holds the weights of another one in another layout, and no golden of its own,
    - `prompts`: lengths of the prompts to generate from, if not the usual ones,
    - `quiet`: the embeddings are drawn narrower, and the norms after them and the last one wider, so that a model with a tied head does
      more than repeat its input."""
    return dict(config=config, seed=seed, sharpness=sharpness, **how)
