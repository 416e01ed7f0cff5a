"""OpenAI's routes over the same requests: `routes.add_openai` is the door."""
