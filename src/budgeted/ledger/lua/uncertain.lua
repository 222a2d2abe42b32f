return call('HVALS', UNCERTAIN)
