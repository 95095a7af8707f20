credits("creators-0",{"names":["OpenMoji"],"urls":["https://openmoji.org"],"firsts":[0],"counts":[4050]})
