return call('HVALS', HOLDS)
