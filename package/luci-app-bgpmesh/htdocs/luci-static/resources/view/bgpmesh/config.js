'use strict';
'require view';
'require form';
'require uci';
'require tools.widgets as widgets';

/*
 * The options of /etc/config/bgpmesh. What is refused here is what the agent refuses (config.py, address.py); the
 * parsers throw an Error that says what would be right. An address is { family, bits }, its bits as a text of 0 and 1.
 */

const TRUE = [ '1', 'on', 'true', 'yes', 'enabled' ]; /* UCI's words */
const NEVER_ROUTED = [
	'0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3', '::/80', 'fe80::/10', 'ff00::/8'
].map(parsePrefix);
const SHORTEST = { 4: 8, 6: 16 };

function refuse(text) {
	throw new Error(text);
}

function parseNumber(text, low, high) {
	if (!/^(0|[1-9][0-9]*)$/.test(text) || +text < low || +text > high)
		refuse(_('a whole number from %d to %d would be right').format(low, high));

	return +text;
}

function binary(number, digits) {
	return number.toString(2).padStart(digits, '0');
}

function parse4(text) {
	const parts = text.split('.');

	if (parts.length != 4 || !parts.every(part => /^(0|[1-9][0-9]{0,2})$/.test(part) && +part < 256))
		refuse(_('an IPv4 address such as 192.0.2.1 would be right'));

	return { family: 4, bits: parts.map(part => binary(+part, 8)).join('') };
}

function parse6(text) {
	const halves = text.split('::').map(half => half ? half.split(':') : []);
	const last = halves[halves.length - 1];
	const dotted = (last.length && last[last.length - 1].includes('.')) ? parse4(last.pop()).bits : '';
	const groups = halves.map(half => half.map(part => /^[0-9a-fA-F]{1,4}$/.test(part) ? binary(parseInt(part, 16), 16) : 'x').join(''));
	const missing = 128 - groups.join('').length - dotted.length;

	if (halves.length > 2 || groups.join('').includes('x') || (halves.length == 2 ? missing < 16 : missing != 0))
		refuse(_('an IPv6 address such as 2001:db8::1 would be right'));

	return { family: 6, bits: groups[0] + '0'.repeat(missing) + (groups[1] ?? '') + dotted };
}

function parseAddress(text) {
	return text.includes(':') ? parse6(text) : parse4(text);
}

/* { family, bits }, the bits as many as the prefix is long. */
function parsePrefix(text) {
	const at = text.indexOf('/');
	const address = parseAddress(at < 0 ? text : text.slice(0, at));
	let length;

	try {
		length = parseNumber(at < 0 ? '' : text.slice(at + 1), 0, address.bits.length);
	}
	catch {
		refuse(_('a length from /0 to /%d has to follow the address').format(address.bits.length));
	}

	if (address.bits.slice(length).includes('1'))
		refuse(_('the bits behind the length /%d have to be 0').format(length));

	return { family: address.family, bits: address.bits.slice(0, length) };
}

function overlaps(one, other) {
	return one.family == other.family && (one.bits.startsWith(other.bits) || other.bits.startsWith(one.bits));
}

function isSpecial(prefix) {
	return NEVER_ROUTED.some(special => overlaps(prefix, special));
}

function parseName(name) {
	const labels = name.split('.');

	if (/^[0-9]+$/.test(labels[labels.length - 1]))
		parse4(name);
	if (name.length > 253 || !labels.every(label => /^[A-Za-z0-9_-]{1,63}$/.test(label) && !/^-|-$/.test(label)))
		refuse(_('a host name, an IPv4 address or an IPv6 address in brackets would be right'));

	return name;
}

/* { host, port } of host[:port], or of [IPv6 address][:port]. */
function parseEndpoint(text, port) {
	const found = /^(?:\[([^\]]*)\]|([^:]*))(?::([^:]*))?$/.exec(text);

	if (!found)
		refuse(_('host or host:port would be right, an IPv6 address in brackets: [2001:db8::1]:655'));

	if (found[1] != null)
		parse6(found[1]);
	else
		parseName(found[2]);

	if (found[3] != null)
		try {
			port = parseNumber(found[3], 1, 65535);
		}
		catch {
			refuse(_('the port has to be a whole number from 1 to 65535'));
		}

	return { host: found[1] ?? found[2], port };
}

function parseServer(text) {
	const found = /^(.*?):\/\/(.*)$/.exec(text);

	if (found && found[1] != 'http' && found[1] != 'https')
		refuse(_('http:// or https:// would be right'));

	return parseEndpoint((found ? found[2] : text).replace(/\/$/, ''), 2379);
}

function matching(pattern, right) {
	return text => pattern.test(text) || refuse(right);
}

function numberIn(low, high) {
	return text => parseNumber(text, low, high);
}

function parseOverlay(family, shortest, longest, right) {
	return text => {
		const prefix = parsePrefix(text);

		if (prefix.family != family || prefix.bits.length < shortest || prefix.bits.length > longest || isSpecial(prefix))
			refuse(right);
	};
}

function parseBfdInterval(text) {
	return text == '0' ? 0 : parseNumber(text, 50, 60000);
}

function parseAsn(text) {
	const number = parseNumber(text, 1, 4294967294);

	if (number == 23456 || number == 65535)
		refuse(_('this number is reserved: a private one such as 65000 would be right'));
}

function parseRouterId(text) {
	if (!parse4(text).bits.includes('1'))
		refuse(_('an IPv4 address other than 0.0.0.0 would be right'));
}

function parseHttp(text) {
	let found = {};

	try {
		found = parseEndpoint(text, null);
		parseAddress(found.host);
	}
	catch {
		found = {};
	}

	if (!found.port)
		refuse(_('address:port such as 127.0.0.1:9179 would be right'));
}

const parseLine = matching(/^[^\x00-\x1f\x7f]*$/, _('a single line of text would be right'));
const parsePath = matching(/^\/[^\x00-\x1f\x7f]*$/, _('an absolute path such as /etc/bgpmesh/etcd.crt would be right'));
const parseInterface = matching(/^(?!\.{1,2}$)[A-Za-z0-9_.-]{1,15}$/, _('up to 15 letters, digits, _ . or - would be right'));
const parseNode = matching(/^[A-Za-z0-9_.-]{1,63}$/, _('1 to 63 letters, digits or _ would be right (- and . become _)'));
const parseKeyPrefix = matching(/^\/*([!-.0-~]+\/)*[!-.0-~]*\/*$/, _('a path such as /mesh, without blanks, would be right'));
const parseSecret = matching(/^(?:(?!['"\\])[ -~]){16,256}$/,
	_('16 to 256 printable ASCII characters without quotes and backslashes would be right'));

const parsePublicKey = matching(/^RW[QRST][A-Za-z0-9+/]{53}$/,
	_('the second line of a public key’s file, 56 characters, would be right'));

/* -- what only shows when options are seen side by side; each returns what is wrong, or nothing */

/* The prefix another option holds now; null while it holds none that is right. */
function prefixOf(option, section, name, standard) {
	try {
		return parsePrefix(option.section.formvalue(section, name) || standard);
	}
	catch {
		return null;
	}
}

function neededBy(other, title) {
	return (option, section, text) => {
		if (!text && option.section.formvalue(section, other))
			return _('“%s” is set and needs this').format(title);
	};
}

function checkTrustKey(option, section, text) {
	if (!text && option.section.formvalue(section, 'trust') == 'signed')
		return _('this is needed where members are those who were approved');
}

function checkAddress(option, section, text) {
	const network = prefixOf(option, section, 'network', '10.0.0.0/24');
	const rest = (text && network) ? parse4(text).bits.slice(network.bits.length) : null;

	if (rest != null && (!parse4(text).bits.startsWith(network.bits) || !/01|10/.test(rest)))
		return _('a host address of the overlay network would be right');
}

/* parse: gives the { host } that a text names. */
function outsideOverlay(parse) {
	return (option, section, text) => {
		let address;

		try {
			address = parseAddress(parse(text).host);
		}
		catch {
			return;
		}

		if ([ prefixOf(option, section, 'network', '10.0.0.0/24'), prefixOf(option, section, 'network6', '') ]
			.some(network => network && overlaps(address, network)))
			return _('this is inside the overlay: an address that is reached without it would be right');
	};
}

function checkPrefix(option, section, text) {
	const prefix = text ? parsePrefix(text) : null;

	if (!prefix)
		return;
	if (!prefix.bits)
		return _('a default route is never announced');
	if ([ prefixOf(option, section, 'network', '10.0.0.0/24'), prefixOf(option, section, 'network6', '') ]
		.some(network => network && overlaps(prefix, network)))
		return _('this overlaps the overlay’s own network');
	if (isSpecial(prefix))
		return _('loopback, link-local, multicast and reserved networks are never announced');
	if (prefix.bits.length < SHORTEST[prefix.family])
		return _('shorter than /%d: it takes in the networks of others').format(SHORTEST[prefix.family]);
}

function checkMtu(option, section, text) {
	if (text && +text < 1280 && option.section.formvalue(section, 'network6'))
		return _('1280 or more would be right: the overlay has IPv6');
}

function checkNode(option, section, text) {
	if (/^[_.-]/.test(text) && option.section.formvalue(section, 'etcd_api') == 'v2')
		return _('etcd’s v2 API hides names that begin with _: another name would be right');
}

return view.extend({
	render() {
		const map = new form.Map('bgpmesh', _('BGP mesh'),
			_('This router joins an encrypted mesh, finds the other members and routes to their networks. Only a registry is needed. All members have the same overlay networks, network secret, API version and key prefix.'));
		const section = map.section(form.NamedSection, 'main', 'mesh');

		section.tab('general', _('General'));
		section.tab('registry', _('Registry'));
		section.tab('routing', _('Addresses and routing'));
		section.tab('security', _('Security'));
		section.tab('advanced', _('Advanced'));

		function option(tab, kind, name, title, help, more) {
			const { parse, together, ...rest } = more ?? {};
			const added = section.taboption(tab, kind, name, title, help);

			if (parse)
				added.validate = function(section_id, value) {
					try {
						if (value)
							parse(value);

						return (together ? together(this, section_id, value) : null) || true;
					}
					catch (e) {
						return e.message;
					}
				};

			return Object.assign(added, rest);
		}

		const enabled = option('general', form.Flag, 'enabled', _('Enabled'), _('Whether the agent runs.'), { rmempty: false });

		enabled.load = section_id => TRUE.includes(uci.get('bgpmesh', section_id, 'enabled')) ? '1' : '0';

		option('general', form.DynamicList, 'etcd', _('Registry'),
			_('etcd servers, tried in turn. A router with a member on its LAN needs none: it takes its neighbour’s when both have the same network secret.'),
			{ placeholder: 'http://192.0.2.10:2379', parse: parseServer, together: outsideOverlay(parseServer) });
		option('general', form.Value, 'node', _('Name'), _('This member’s name. Empty: the router’s host name.'),
			{ parse: parseNode, together: checkNode });
		option('general', form.Value, 'endpoint', _('Reached at'),
			_('The name or address, host or host:port, where other members reach this router. Empty behind NAT: this router dials.'),
			{ placeholder: 'north.example.net:655', parse: parseEndpoint, together: outsideOverlay(parseEndpoint) });

		/* The default needs no option. */
		const leaveOut = added => {
			added.write = (section_id, value) => (String(value) == added.default)
				? uci.unset('bgpmesh', section_id, added.option) : uci.set('bgpmesh', section_id, added.option, value);

			return added;
		};

		const announce = leaveOut(option('general', widgets.NetworkSelect, 'announce', _('Announced interfaces'),
			_('The networks of these interfaces are announced to the mesh. With none selected it is “lan”.'),
			{ multiple: true, nocreate: true, 'default': 'lan' }));
		const load = announce.load;

		/* What is not selected is gone once the form is saved; the agent takes commas for blanks. */
		announce.load = function(section_id) {
			return load.call(this, section_id).then(names => names && L.toArray(names).join(' ').split(/[\s,]+/));
		};

		const api = leaveOut(option('registry', form.ListValue, 'etcd_api', _('API version'),
			_('v2 is for meshes that already meet there: it needs the packages bgpmesh-python3 and python3-etcd.'), { 'default': 'v3' }));

		api.value('v3', 'v3');
		api.value('v2', 'v2');

		option('registry', form.Value, 'etcd_prefix', _('Key prefix'), _('Put before every key in the registry.'),
			{ placeholder: '/mesh', parse: parseKeyPrefix });
		option('registry', form.Value, 'poll_interval', _('Interval'), _('Seconds between two looks at the registry.'),
			{ placeholder: '10', parse: numberIn(1, 3600) });
		option('registry', form.Value, 'etcd_user', _('User name'), _('Where the registry asks for one.'),
			{ parse: parseLine, together: neededBy('etcd_password', _('Password')) });
		option('registry', form.Value, 'etcd_password', _('Password'), _('Of this user.'),
			{ password: true, parse: parseLine, together: neededBy('etcd_user', _('User name')) });
		option('registry', form.Value, 'ca_file', _('CA certificates'), _('A file with the certificates that vouch for https:// servers.'),
			{ placeholder: '/etc/ssl/certs/ca-certificates.crt', parse: parsePath });
		option('registry', form.Value, 'cert_file', _('Client certificate'), _('A file, where the registry asks for a certificate.'),
			{ parse: parsePath, together: neededBy('key_file', _('Client key')) });
		option('registry', form.Value, 'key_file', _('Client key'), _('The file with this certificate’s key.'),
			{ parse: parsePath, together: neededBy('cert_file', _('Client certificate')) });

		option('routing', form.Value, 'network', _('Overlay network'), _('IPv4, /8 to /30. The same on all members.'),
			{ placeholder: '10.0.0.0/24', parse: parseOverlay(4, 8, 30, _('an IPv4 prefix from /8 to /30, such as 10.0.0.0/24, would be right')) });
		option('routing', form.Value, 'network6', _('Overlay network, IPv6'), _('A /64. Empty: none. The same on all members.'),
			{ placeholder: 'fd00:99::/64', parse: parseOverlay(6, 64, 64, _('an IPv6 /64 such as fd00:99::/64 would be right')) });
		option('routing', form.Value, 'address', _('Overlay address'), _('Empty: the first free one is claimed.'),
			{ parse: parse4, together: checkAddress });
		option('routing', form.DynamicList, 'prefix', _('Announced prefixes'),
			_('Networks that are announced besides those of the interfaces.'),
			{ placeholder: '192.168.9.0/24', parse: parsePrefix, together: checkPrefix });
		option('routing', form.Value, 'asn', _('AS number'), null, { placeholder: '65000', parse: parseAsn });
		option('routing', form.Value, 'router_id', _('Router ID'), _('An IPv4 address. Empty: the overlay address.'),
			{ parse: parseRouterId });

		option('security', form.Value, 'secret', _('Network secret'),
			_('The same on all members: they sign their records with it, and others are not let in. At least 16 characters.'),
			{ password: true, parse: parseSecret, together: neededBy('secret_old', _('Earlier network secret')) });
		option('security', form.Value, 'secret_old', _('Earlier network secret'),
			_('Valid beside the network secret while the routers, one by one, are given a new one.'),
			{ password: true, parse: parseSecret });

		const trust = leaveOut(option('security', form.ListValue, 'trust', _('Members'),
			_('Approved routers have the signature of the network’s owner: bgpmesh approve NODE. Others wait, and revoked ones are shut out.'), { 'default': 'open' }));

		trust.value('open', _('Who has the network secret'));
		trust.value('signed', _('Who was approved by the owner'));

		option('security', form.Value, 'trust_key', _('Owner’s public key'),
			_('The second line of the file: bgpmesh keygen makes it, or usign -G.'), { parse: parsePublicKey, together: checkTrustKey });
		option('security', form.Value, 'grace', _('Grace'),
			_('Hours for which a member stays one after somebody has removed or spoilt its signed record in the registry.'),
			{ placeholder: '24', parse: numberIn(1, 8760) });
		option('security', form.Value, 'rpki', _('RPKI validator'),
			_('host or host:port. Prefixes that it finds invalid are refused; all are accepted while it has said nothing. Empty: none.'),
			{ placeholder: 'validator.example.net:323', parse: parseEndpoint, together: outsideOverlay(parseEndpoint) });
		option('security', form.Value, 'http_token', _('HTTP token'),
			_('Who asks over HTTP for a look at the registry (POST /sync) has to know it. At least 16 characters.'),
			{ password: true, parse: parseSecret });
		option('security', form.Value, 'key_lifetime', _('Lifetime of the keys'),
			_('Days until the tunnels’ keys are replaced by new ones. 0: never.'),
			{ placeholder: '0', parse: numberIn(0, 36500) });

		option('advanced', form.Value, 'port', _('Port'), _('Of the tunnels, TCP and UDP.'),
			{ placeholder: '655', parse: numberIn(1, 65535) });
		option('advanced', form.Value, 'mtu', _('MTU'), _('Of the overlay’s interface, in bytes.'),
			{ placeholder: '1400', parse: numberIn(576, 9000), together: checkMtu });
		option('advanced', form.Value, 'interface', _('Interface'), _('The overlay’s network interface.'),
			{ placeholder: 'tinc0', parse: parseInterface });
		option('advanced', form.Value, 'full_mesh_max', _('Full mesh'),
			_('Members up to which all have BGP sessions with each other; in a larger mesh some reflect routes for the others. The same on all routers.'),
			{ placeholder: '16', parse: numberIn(2, 1000) });

		const reflector = leaveOut(option('advanced', form.ListValue, 'reflector', _('Route reflector'),
			_('Whether this router may reflect routes in a larger mesh.'), { 'default': 'auto' }));

		reflector.value('auto', _('Where others can reach it'));
		reflector.value('yes', _('Before others'));
		reflector.value('no', _('Never'));

		option('advanced', form.Value, 'rollback', _('Way back'),
			_('Seconds without the registry and any member after which changed options are taken back. 0: never.'),
			{ placeholder: '120', parse: numberIn(0, 3600) });
		option('advanced', form.Value, 'bfd_interval', _('BFD interval'),
			_('Milliseconds between two packets that tell each peer that the path is alive. More of them find a dead one sooner, and cost traffic. 0: none.'),
			{ placeholder: '150', parse: parseBfdInterval });
		option('advanced', form.Value, 'bfd_multiplier', _('BFD multiplier'),
			_('How many of them in a row may be lost before the path is taken for dead.'),
			{ placeholder: '6', parse: numberIn(2, 255) });
		option('advanced', form.Value, 'http', _('HTTP'), _('Where /metrics and /status are served, address:port. Empty: nowhere.'),
			{ placeholder: '127.0.0.1:9179', parse: parseHttp });

		return map.render();
	}
});
