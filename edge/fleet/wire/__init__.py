"""What devices and collectors say to each other: topics, events, documents. Pure; used by both sides."""
