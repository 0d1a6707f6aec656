"""Steps from one schema to the next. `versions` holds one file a step; a step that was released never changes."""
