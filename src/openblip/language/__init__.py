"""The plain English of captions: words and their forms, parts of speech, noun phrases. Lists and rules; no model, no
torch, no pictures."""
