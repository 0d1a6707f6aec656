"""Backend mlc, engine mlc_llm: the real `mlc_llm` command makes the weights and the library, edge checks both.

tool.py finds and runs the command, choices.py says what it is asked for, source_folder.py writes what it reads,
chat_config.py, shards.py and library.py read back what it wrote, checks.py compares numbers, stages.py is the order.
"""
