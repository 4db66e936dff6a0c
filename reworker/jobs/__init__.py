"""One delivery and the job in it: the record of an attempt, the job a step sees, the steps of a class."""
