"""Pictures for people: tracked objects in their frames, and the scene graph beside them."""
