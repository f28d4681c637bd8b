package gateway

// commands are all that the server knows.
var commands = commandTable()

func commandTable() map[string]*spec {
	t := map[string]*spec{
		"hello":              {run: hello, anytime: true},
		"ping":               {run: ok, anytime: true},
		"buildInfo":          {run: buildInfo, anytime: true},
		"getParameter":       {run: getParameter, anytime: true},
		"setParameter":       {run: setParameter, anytime: true},
		"connectionStatus":   {run: connectionStatus, anytime: true},
		"hostInfo":           {run: hostInfo, anytime: true},
		"getLog":             {run: getLog, anytime: true},
		"serverStatus":       {run: serverStatus, anytime: true},
		"replSetGetStatus":   {run: replSetGetStatus, anytime: true},
		"startSession":       {run: startSession, anytime: true},
		"endSessions":        {run: endSessions, anytime: true},
		"killSessions":       {run: killSessions, anytime: true},
		"killAllSessions":    {run: killAllSessions, anytime: true},
		"refreshSessions":    {run: ok, anytime: true},
		"logout":             {run: ok, anytime: true},
		"configureFailPoint": {run: configureFailPoint, anytime: true},
		"replSetStepDown":    {run: stepDown, anytime: true},
		"replSetInitiate":    {run: initiate, anytime: true},
		"killCursors":        {run: killCursors, anytime: true, inTxn: true},

		"insert":        {run: insert, write: true, retryable: true, inTxn: true},
		"update":        {run: update, write: true, retryable: true, inTxn: true},
		"delete":        {run: remove, write: true, retryable: true, inTxn: true},
		"findAndModify": {run: findAndModify, write: true, retryable: true, inTxn: true},

		"find":      {run: find, inTxn: true},
		"aggregate": {run: aggregate, inTxn: true},
		"distinct":  {run: distinct, inTxn: true},
		"getMore":   {run: getMore, inTxn: true},
		"count":     {run: count},
		"explain":   {run: explain},

		"commitTransaction": {run: notOutside, write: true, inTxn: true},
		"abortTransaction":  {run: notOutside, write: true, inTxn: true},

		"create":           {run: create, write: true, inTxn: true},
		"createIndexes":    {run: createIndexes, write: true, inTxn: true},
		"dropIndexes":      {run: dropIndexes, write: true},
		"drop":             {run: drop, write: true},
		"dropDatabase":     {run: dropDatabase, write: true},
		"renameCollection": {run: renameCollection, write: true},
		"collMod":          {run: collMod, write: true},
		"listCollections":  {run: listCollections},
		"listIndexes":      {run: listIndexes},
		"listDatabases":    {run: listDatabases},
		"collStats":        {run: collStats},
		"dbStats":          {run: dbStats},
		"validate":         {run: validate},
		"currentOp":        {run: currentOp},
	}
	for old, name := range map[string]string{
		"isMaster": "hello", "ismaster": "hello", "buildinfo": "buildInfo", "findandmodify": "findAndModify",
		"deleteIndexes": "dropIndexes", "collstats": "collStats", "dbstats": "dbStats",
	} {
		t[old] = t[name]
	}
	return t
}
