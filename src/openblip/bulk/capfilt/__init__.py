"""CapFilt (BLIP paper, section 3.3): a captioner adds a synthetic text to every picture of noisy shards, a filter drops
what does not describe it, and the rest is shards again.

From the ground up: `settings` and `records` say what is asked and found, `samples` reads noisy shards, `scoring` runs
the models, `rule` decides, `folder` and `durable` keep a run that may be killed, `shard_worker` does one shard,
`processes` and `on_ray` do many at once, `report` and `page` tell what became of them, `run` is all of it.
"""
