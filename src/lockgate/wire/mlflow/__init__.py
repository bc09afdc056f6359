"""The messages of MLflow's REST protocol that Lockgate speaks, under its own paths and field names."""
