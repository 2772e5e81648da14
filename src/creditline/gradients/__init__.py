"""From images to gradient features: noise plan, objective, engine, projection."""
