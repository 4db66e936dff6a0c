"""The contract on the bus, published: JSON Schemas and an AsyncAPI document, made from the code itself."""
