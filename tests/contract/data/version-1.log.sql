BEGIN TRANSACTION;
CREATE TABLE log (
	deployment_id VARCHAR(24) NOT NULL, 
	first_no INTEGER NOT NULL, 
	line_count INTEGER NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	lines TEXT NOT NULL, 
	PRIMARY KEY (deployment_id, first_no)
);
INSERT INTO "log" VALUES('019b7ca98c888de439cebd8e',1,1,54,'[[1,"2026-01-02T03:04:06Z","first line\nsecond line"]]');
CREATE TABLE meta (
	name VARCHAR(40) NOT NULL, 
	value TEXT, 
	PRIMARY KEY (name)
);
INSERT INTO "meta" VALUES('schema_version','1');
COMMIT;
