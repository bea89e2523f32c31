'use strict';
'require baseclass';
'require rpc';

const calls = {
	exec: rpc.declare({ object: 'file', method: 'exec', params: [ 'command', 'params', 'env' ] }),
	list: rpc.declare({ object: 'file', method: 'list', params: [ 'path' ] })
};

function checked(answer) {
	if (typeof(answer) != 'number')
		return answer;

	const error = new Error(rpc.getStatusText(answer));

	error.name = { 4: 'NotFoundError', 6: 'PermissionError', 7: 'TimeoutError' }[answer] ?? 'Error';
	throw error;
}

return baseclass.extend({
	exec(command, params) {
		return calls.exec(command, params).then(checked);
	},

	list(path) {
		return calls.list(path).then(answer => checked(answer).entries);
	}
});
